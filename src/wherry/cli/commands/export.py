"""``wherry export``"""

from __future__ import annotations

from wherry.client.api import quote

from ..command import Command, exactly
from ..files import check_output, save_stream
from ..flags import Flag
from ..kinds import STRING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..flags import Options
    from ..session import Session


def _export(session: Session, options: Options, arguments: list[str]) -> int:
    output = options["output"]
    check_output(output, on_terminal=session.stdout_is_terminal, task="export container")
    path = f"/containers/{quote(arguments[0])}/export"
    save_stream(session.client.request("GET", path), output)
    return 0


EXPORT = Command(
    "export [OPTIONS] CONTAINER",
    _export,
    flags=(Flag("output", "o", STRING, "Write to a file, instead of STDOUT"),),
    arguments=exactly(1),
)
