"""``wherry rm``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL
from wherry.client.api import quote
from wherry.client.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _rm(session: Session, options: Options, arguments: list[str]) -> int:
    query = {
        "force": options["force"] or None,
        "link": options["link"] or None,
        "v": options["volumes"] or None,
    }

    def remove(name: str) -> bool:
        bare = name.strip("/")
        if not bare:
            raise CliError("Container name cannot be empty")
        try:
            session.client.call("DELETE", f"/containers/{quote(bare, '/')}", query=query)
        except NotFoundError as error:
            # With --force a container that is not there is what was wanted.
            if not options["force"]:
                raise
            session.warn(f"Error response from daemon: {error}")
            return False
        return True

    return session.each(arguments, remove)


RM = Command(
    "rm [OPTIONS] CONTAINER [CONTAINER...]",
    _rm,
    flags=(
        Flag("force", "f", BOOL, "Remove running containers too (uses SIGKILL)"),
        Flag("link", "l", BOOL, "Remove the specified link"),
        Flag("volumes", "v", BOOL, "Remove the containers' anonymous volumes"),
    ),
    arguments=at_least(1),
)
