"""``wherry rename``"""

from __future__ import annotations

from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError
from wherry.cli.failures import message
from wherry.client.api import quote
from wherry.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _rename(session: Session, options: Options, arguments: list[str]) -> int:
    old, new = arguments[0].strip(), arguments[1].strip()
    if not old or not new:
        raise CliError("Error: Neither old nor new names may be empty")
    try:
        session.client.call("POST", f"/containers/{quote(old)}/rename", query={"name": new})
    except ApiError as error:
        words = message(error)
        raise CliError(f"{words}\nError: failed to rename container named {old}") from None
    return 0


RENAME = Command("rename CONTAINER NEW_NAME", _rename, arguments=exactly(2))
