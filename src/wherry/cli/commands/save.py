"""``wherry save``"""

from __future__ import annotations

from wherry.cli import platforms
from wherry.cli.command import Command, at_least
from wherry.cli.files import check_output, save_stream
from wherry.cli.flags import Flag
from wherry.cli.kinds import STRING, STRINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _save(session: Session, options: Options, arguments: list[str]) -> int:
    output = options["output"]
    check_output(output, on_terminal=session.stdout_is_terminal, task="save image")
    query = {"names": arguments, "platform": platforms.query(options["platform"])}
    save_stream(session.client.request("GET", "/images/get", query=query), output)
    return 0


SAVE = Command(
    "save [OPTIONS] IMAGE [IMAGE...]",
    _save,
    flags=(
        Flag("output", "o", STRING, "Write to a file, instead of STDOUT"),
        Flag("platform", "", STRINGS, "Save only these platforms (os/arch[/variant])"),
    ),
    arguments=at_least(1),
)
