"""``wherry search``"""

from __future__ import annotations

from wherry.cli import filters
from wherry.cli.auth import encode
from wherry.cli.command import Command, exactly
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, FILTER, INT, STRING
from wherry.cli.references import registry_of
from wherry.cli.tables import Row, ellipsis, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

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
    from wherry.cli.auth import credentials

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
