"""``wherry network ls``"""

from __future__ import annotations

from wherry.cli import filters
from wherry.cli.command import Command, none
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, FILTER, STRING
from wherry.cli.tables import Row, joined, listing, short_id
from wherry.cli.units import go_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_TABLE = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
_TITLES = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def _flag(value: Any) -> str:
    return "true" if value else "false"


def _row(network: dict[str, Any], trunc: bool) -> Row:
    labels: dict[str, str] = network.get("Labels") or {}
    return Row(
        "networkContext",
        {
            "ID": lambda: short_id(network["Id"]) if trunc else network["Id"],
            "Name": lambda: network["Name"],
            "Driver": lambda: network["Driver"],
            "Scope": lambda: network["Scope"],
            "IPv4": lambda: _flag(network.get("EnableIPv4")),
            "IPv6": lambda: _flag(network.get("EnableIPv6")),
            "Internal": lambda: _flag(network.get("Internal")),
            "Labels": lambda: joined(labels),
            "CreatedAt": lambda: go_time(network.get("Created") or ""),
        },
        labels,
    )


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key in which numbers within names count as numbers."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for char in text:
        if char.isdigit():
            digits += char
            continue
        if digits:
            parts.append((0, int(digits), ""))
            digits = ""
        parts.append((1, 0, char))
    if digits:
        parts.append((0, int(digits), ""))
    return parts


def _ls(session: Session, options: Options, arguments: list[str]) -> int:
    query = {"filters": filters.encode(options["filter"])}
    networks = session.client.call("GET", "/networks", query=query)
    form = options["format"]
    if not form and not options["quiet"]:
        form = session.config.text("networksFormat")
    listing(
        [
            _row(network, not options["no-trunc"])
            for network in sorted(networks, key=lambda network: natural(network["Name"]))
        ],
        _TITLES,
        form,
        _TABLE,
        quiet=options["quiet"],
        labels=True,
    )
    return 0


LS = Command(
    "ls [OPTIONS]",
    _ls,
    flags=(
        Flag("filter", "f", FILTER, 'Conditions such as "driver=bridge"'),
        Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
        Flag("no-trunc", "", BOOL, "Do not truncate the output"),
        Flag("quiet", "q", BOOL, "Only display network ids"),
    ),
    arguments=none,
)
