"""``wherry events``"""

from __future__ import annotations

import sys
import time

from wherry.cli import filters
from wherry.cli.command import Command, none
from wherry.cli.commands.inspect import missing, prepared
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.gotemplate import TemplateError
from wherry.cli.gotemplate.functions import to_json
from wherry.cli.kinds import FILTER, STRING
from wherry.cli.moments import moment
from wherry.cli.tables import template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def event_line(event: dict[str, Any]) -> str:
    """``TIME TYPE ACTION ID (a=b, c=d)``"""
    nanoseconds = int(event.get("timeNano") or int(event.get("time") or 0) * 10**9)
    local = time.localtime(nanoseconds // 10**9)
    offset = time.strftime("%z", local)
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{nanoseconds % 10**9:09d}{zone}"
    actor = event.get("Actor") or {}
    parts = [stamp, str(event.get("Type", "")), str(event.get("Action", "")), actor.get("ID", "")]
    attributes: dict[str, str] = actor.get("Attributes") or {}
    if attributes:
        shown = ", ".join(f"{name}={value}" for name, value in sorted(attributes.items()))
        parts.append(f"({shown})")
    return " ".join(parts)


def _missing(data: dict[str, Any], name: str) -> Any:
    """The old fields of events, which newer daemons leave out."""
    return "" if name in ("ID", "Status", "From") and "Actor" in data else missing(data, name)


def _events(session: Session, options: Options, arguments: list[str]) -> int:
    form = options["format"]
    parsed = template(form) if form and form != "json" else None
    query = {
        "since": moment(options["since"]),
        "until": moment(options["until"]),
        "filters": filters.encode(options["filter"]),
    }
    for event in session.client.stream("GET", "/events", query=query):
        if parsed is not None:
            try:
                session.say(parsed.render(prepared(event), _missing))
            except TemplateError as error:
                raise CliError(str(error)) from None
        elif form == "json":
            session.say(to_json(prepared(event)))
        else:
            session.say(event_line(event))
        sys.stdout.flush()
    return 0


EVENTS = Command(
    "events [OPTIONS]",
    _events,
    flags=(
        Flag("filter", "f", FILTER, "Filter output based on conditions"),
        Flag("format", "", STRING, "Format output: json, or a TEMPLATE"),
        Flag("since", "", STRING, "Show all events created since a time"),
        Flag("until", "", STRING, "Stream events until a time"),
    ),
    arguments=none,
)
