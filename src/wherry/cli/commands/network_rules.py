"""``wherry network rules``"""

from __future__ import annotations

from wherry.cli.command import Command, exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _rules(session: Session, options: Options, arguments: list[str]) -> int:
    place = ""
    for rule in session.client.call("GET", "/wherry/network-rules"):
        if rule["Where"] != place:
            session.say(f"{chr(10) if place else ''}{rule['Where']}")
            place = rule["Where"]
        session.say(f"    {rule['Rule']}")
        session.say(f"        {rule['Meaning']}")
    return 0


RULES = Command("rules", _rules, flags=(), arguments=exactly(0))
