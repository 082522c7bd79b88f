"""``wherry top``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.cli.tables import columns
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_MIN_WIDTH = 20


def _top(session: Session, options: Options, arguments: list[str]) -> int:
    query = {"ps_args": " ".join(arguments[1:]) or None}
    processes = session.client.call("GET", f"/containers/{quote(arguments[0])}/top", query=query)
    lines = [processes.get("Titles") or [], *(processes.get("Processes") or [])]
    session.write(columns(["\t".join(line) for line in lines], minimum=_MIN_WIDTH))
    return 0


TOP = Command("top CONTAINER [ps OPTIONS]", _top, arguments=at_least(1), interspersed=False)
