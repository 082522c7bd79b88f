"""``wherry history``"""

from __future__ import annotations

import time

from wherry.cli import platforms
from wherry.cli.command import Command, exactly
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.tables import Row, ellipsis, listing, short_id
from wherry.cli.units import age, short_size
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_TITLES = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def _row(entry: dict[str, Any], *, trunc: bool, human: bool) -> Row:
    created = int(entry.get("Created") or 0)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created))
    offset = time.strftime("%z", time.localtime(created))
    if offset != "+0000":
        local = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(created))
        stamp = f"{local}{offset[:3]}:{offset[3:]}"
    since = f"{age(time.time() - created)} ago" if human else stamp
    by = str(entry.get("CreatedBy") or "").replace("\t", " ")
    size = int(entry.get("Size") or 0)
    return Row(
        "historyContext",
        {
            "ID": lambda: short_id(entry["Id"]) if trunc else entry["Id"],
            "CreatedAt": lambda: stamp,
            "CreatedSince": lambda: since if created > 0 or not human else "N/A",
            "CreatedBy": lambda: ellipsis(by, 45) if trunc else by,
            "Size": lambda: short_size(size) if human else str(size),
            "Comment": lambda: entry.get("Comment") or "",
        },
    )


def _history(session: Session, options: Options, arguments: list[str]) -> int:
    path = f"/images/{quote(arguments[0], '/:@')}/history"
    if options["files"]:
        return _with_files(session, arguments[0])
    query: dict[str, Any] = {"platform": platforms.query(options["platform"])}
    entries = session.client.call("GET", path, query=query)
    listing(
        [_row(entry, trunc=not options["no-trunc"], human=options["human"]) for entry in entries],
        _TITLES if options["human"] else {**_TITLES, "CreatedSince": "CREATED AT"},
        options["format"],
        "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        quiet=options["quiet"],
    )
    return 0


def _with_files(session: Session, image: str) -> int:
    """Each step of the history, the newest first, with the files that its layer brought."""
    from wherry.cli.commands.image_extras import change_line

    for step in session.client.call("GET", "/wherry/image-layers", query={"name": image}):
        layer = short_id(step["Layer"]) if step["Layer"] else "-" * 12
        size = sum(int(c["SizeAfter"]) for c in step["Files"])
        session.say(f"{layer}  {short_size(size):>7}  {step['CreatedBy']}".rstrip())
        for change in step["Files"]:
            session.say(f"    {change_line(change)}")
    return 0


HISTORY = Command(
    "history [OPTIONS] IMAGE",
    _history,
    flags=(
        Flag("files", "", BOOL, "Show the files that each step added, changed or removed"),
        Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
        Flag("human", "H", BOOL, "Print sizes and dates for people", default=True),
        Flag("no-trunc", "", BOOL, "Don't truncate output"),
        Flag("platform", "", STRING, "Show this platform's history (os/arch[/variant])"),
        Flag("quiet", "q", BOOL, "Only show image ids"),
    ),
    arguments=exactly(1),
)
