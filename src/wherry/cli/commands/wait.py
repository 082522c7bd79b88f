"""``wherry wait``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.client.api import quote
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _wait(session: Session, options: Options, arguments: list[str]) -> int:
    failures = []
    for name in arguments:
        try:
            result = session.client.call("POST", f"/containers/{quote(name)}/wait")
        except WherryError as error:
            failures.append(message(error))
        else:
            session.say(str(result.get("StatusCode", 0)))
    if failures:
        raise CliError("\n".join(failures))
    return 0


WAIT = Command("wait CONTAINER [CONTAINER...]", _wait, arguments=at_least(1))
