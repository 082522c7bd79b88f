"""``wherry diff``"""

from __future__ import annotations

from wherry.cli.command import Command, exactly
from wherry.cli.tables import Row, listing
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_KINDS = ("C", "A", "D")


def _row(change: dict[str, Any]) -> Row:
    return Row(
        "diffContext",
        {"Type": lambda: _KINDS[change["Kind"]], "Path": lambda: change["Path"]},
    )


def _diff(session: Session, options: Options, arguments: list[str]) -> int:
    changes = session.client.call("GET", f"/containers/{quote(arguments[0])}/changes")
    rows = [_row(change) for change in changes or []]
    listing(rows, {"Type": "CHANGE TYPE", "Path": "PATH"}, "{{.Type}} {{.Path}}", "")
    return 0


DIFF = Command("diff CONTAINER", _diff, arguments=exactly(1))
