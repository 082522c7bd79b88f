"""``wherry restart``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.cli.commands.stop import STOP_FLAGS, stop_query
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _restart(session: Session, options: Options, arguments: list[str]) -> int:
    query = stop_query(options)
    return session.each(
        arguments,
        lambda name: session.client.call("POST", f"/containers/{quote(name)}/restart", query=query),
    )


RESTART = Command(
    "restart [OPTIONS] CONTAINER [CONTAINER...]", _restart, flags=STOP_FLAGS, arguments=at_least(1)
)
