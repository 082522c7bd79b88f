"""``wherry pause`` and ``wherry unpause``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _action(verb: str) -> Any:
    def run(session: Session, options: Options, arguments: list[str]) -> int:
        return session.each(
            arguments,
            lambda name: session.client.call("POST", f"/containers/{quote(name)}/{verb}"),
        )

    return run


PAUSE = Command("pause CONTAINER [CONTAINER...]", _action("pause"), arguments=at_least(1))
UNPAUSE = Command("unpause CONTAINER [CONTAINER...]", _action("unpause"), arguments=at_least(1))
