"""``wherry rmi``"""

from __future__ import annotations

from wherry.cli import platforms
from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRINGS
from wherry.client.api import quote
from wherry.client.errors import NotFoundError
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def deleted_lines(deleted: list[dict[str, Any]]) -> list[str]:
    """``Untagged: …`` and ``Deleted: …`` lines."""
    return [f"{kind}: {name}" for entry in deleted for kind, name in entry.items() if name]


def _rmi(session: Session, options: Options, arguments: list[str]) -> int:
    query: dict[str, Any] = {
        "force": options["force"] or None,
        "noprune": options["no-prune"] or None,
        "platforms": platforms.query(options["platform"]),
    }
    failures = []
    fatal = False
    for name in arguments:
        try:
            deleted = session.client.call("DELETE", f"/images/{quote(name, '/:@')}", query=query)
        except WherryError as error:
            fatal = fatal or not isinstance(error, NotFoundError)
            failures.append(message(error))
            continue
        for line in deleted_lines(deleted or []):
            session.say(line)
    if failures:
        if fatal or not options["force"]:
            raise CliError("\n".join(failures))
        session.warn("\n".join(failures))
    return 0


_FLAGS = (
    Flag("force", "f", BOOL, "Force removal of the image"),
    Flag("no-prune", "", BOOL, "Do not delete untagged parents"),
    Flag("platform", "", STRINGS, "Remove only these platforms (os/arch[/variant])"),
)
RMI = RM = Command("rmi [OPTIONS] IMAGE [IMAGE...]", _rmi, flags=_FLAGS, arguments=at_least(1))
