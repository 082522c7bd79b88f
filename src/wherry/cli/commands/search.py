"""``wherry search``"""

from __future__ import annotations

from .. import filters
from ..auth import encode
from ..command import Command, exactly
from ..flags import Flag
from ..kinds import BOOL, FILTER, INT, STRING
from ..references import registry_of
from ..tables import Row, ellipsis, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..flags import Options
    from ..session import Session

_TITLES = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}


def _row(result: dict[str, Any], trunc: bool) -> Row:
    description = str(result.get("description") or "").replace("\n", " ").replace("\r", " ")
    return Row(
        "searchContext",
        {
            "Name": lambda: result.get("name", ""),
            "Description": lambda: ellipsis(description, 45) if trunc else description,
            "StarCount": lambda: str(result.get("star_count", 0)),
            "IsOfficial": lambda: "[OK]" if result.get("is_official") else "",
            "IsAutomated": lambda: "[OK]" if result.get("is_automated") else "",
        },
    )


def _search(session: Session, options: Options, arguments: list[str]) -> int:
    from ..auth import credentials

    term = arguments[0]
    auth = credentials(session.config, registry_of(term))
    query = {
        "term": term,
        "limit": options["limit"] or None,
        "filters": filters.encode(options["filter"]),
    }
    results = session.client.call(
        "GET", "/images/search", query=query, headers={"X-Registry-Auth": encode(auth)}
    )
    rows = [
        _row(result, not options["no-trunc"])
        for result in sorted(results, key=lambda result: -int(result.get("star_count") or 0))
    ]
    table = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
    listing(rows, _TITLES, options["format"], table)
    return 0


SEARCH = Command(
    "search [OPTIONS] TERM",
    _search,
    flags=(
        Flag("filter", "f", FILTER, "Filter output based on conditions"),
        Flag("format", "", STRING, "Format output with a TEMPLATE"),
        Flag("limit", "", INT, "Max number of search results"),
        Flag("no-trunc", "", BOOL, "Don't truncate output"),
    ),
    arguments=exactly(1),
)
