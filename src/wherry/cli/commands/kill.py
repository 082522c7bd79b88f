"""``wherry kill``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.cli.flags import Flag
from wherry.cli.kinds import STRING
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _kill(session: Session, options: Options, arguments: list[str]) -> int:
    query = {"signal": options["signal"] or None}
    return session.each(
        arguments,
        lambda name: session.client.call("POST", f"/containers/{quote(name)}/kill", query=query),
    )


KILL = Command(
    "kill [OPTIONS] CONTAINER [CONTAINER...]",
    _kill,
    flags=(Flag("signal", "s", STRING, "Signal to send to the container"),),
    arguments=at_least(1),
)
