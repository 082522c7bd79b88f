"""``wherry export``"""

from __future__ import annotations

from wherry.cli.command import Command, exactly
from wherry.cli.files import check_output, save_stream
from wherry.cli.flags import Flag
from wherry.cli.kinds import STRING
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


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
