"""``wherry wait``"""

from __future__ import annotations

from wherry.client.api import quote
from wherry.errors import WherryError

from ..command import Command, at_least
from ..errors import CliError
from ..failures import message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..flags import Options
    from ..session import Session


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
