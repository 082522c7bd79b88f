"""``wherry image diff`` and ``wherry image rollback``"""

from __future__ import annotations

from wherry.cli.command import Command, between, exactly
from wherry.cli.flags import Flag
from wherry.cli.gotemplate.functions import to_json
from wherry.cli.kinds import BOOL
from wherry.cli.tables import columns, short_id
from wherry.cli.units import go_time, short_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def change_line(change: dict[str, Any]) -> str:
    """``A +  12kB  /path``: how a file changed and by how many bytes."""
    size = int(change["SizeAfter"]) - int(change["SizeBefore"])
    sign = "-" if size < 0 else "+"
    return f"{change['Kind']} {sign}{short_size(abs(size)):>7}  {change['Path']}"


def _diff(session: Session, options: Options, arguments: list[str]) -> int:
    query = {"from": arguments[0], "to": arguments[1], "content": options["content"] or None}
    changes = session.client.call("GET", "/wherry/image-diff", query=query)
    if options["json"]:
        session.say(to_json(changes))
        return 0
    layers = list(dict.fromkeys(change["Layer"] for change in changes))
    for layer in layers:
        session.say(f"layer {short_id(layer)}" if layer else "removed")
        for change in changes:
            if change["Layer"] == layer:
                session.say(f"  {change_line(change)}")
        session.say("")
    total = sum(int(c["SizeAfter"]) - int(c["SizeBefore"]) for c in changes)
    added, changed, removed = (sum(c["Kind"] == kind for c in changes) for kind in "ACD")
    sign = "-" if total < 0 else "+"
    session.say(
        f"{added} added, {changed} changed, {removed} removed, {sign}{short_size(abs(total))}"
    )
    return 0


def _rollback(session: Session, options: Options, arguments: list[str]) -> int:
    name = arguments[0]
    if options["list"]:
        events = session.client.call("GET", "/wherry/tag-history", query={"name": name})
        lines = ["IMAGE\tSINCE\tFROM\tSTORED"]
        for event in events:
            image = short_id(event["Image"]) if event["Image"] else "(removed)"
            stored = "yes" if event["Present"] else "no"
            lines.append(f"{image}\t{go_time(event['At'])}\t{event['Origin']}\t{stored}")
        session.write(columns(lines))
        return 0
    query = {"name": name, "to": arguments[1] if len(arguments) > 1 else None}
    session.say(session.client.call("POST", "/wherry/rollback", query=query)["Id"])
    return 0


DIFF = Command(
    "diff [OPTIONS] IMAGE IMAGE",
    _diff,
    flags=(
        Flag("content", "", BOOL, "Compare the bytes of files and ignore their times"),
        Flag("json", "", BOOL, "Print the differences as JSON"),
    ),
    arguments=exactly(2),
)
ROLLBACK = Command(
    "rollback [OPTIONS] NAME[:TAG] [IMAGE]",
    _rollback,
    flags=(Flag("list", "", BOOL, "Show what the tag pointed to, since when and from where"),),
    arguments=between(1, 2),
)
