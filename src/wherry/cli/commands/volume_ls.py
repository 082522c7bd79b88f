"""``wherry volume ls``"""

from __future__ import annotations

from wherry.cli import filters
from wherry.cli.command import Command, none
from wherry.cli.commands.network_ls import natural
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, FILTER, STRING
from wherry.cli.tables import Row, joined, listing
from wherry.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

TITLES = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Availability": "AVAILABILITY",
    "Mountpoint": "MOUNTPOINT",
    "Links": "LINKS",
    "Size": "SIZE",
    "Group": "GROUP",
    "Status": "STATUS",
    "Labels": "LABELS",
}


def volume_row(volume: dict[str, Any]) -> Row:
    """A row of a volume."""
    labels: dict[str, str] = volume.get("Labels") or {}
    usage = volume.get("UsageData") or {}
    size = usage.get("Size", -1)
    return Row(
        "volumeContext",
        {
            "Name": lambda: volume["Name"],
            "Driver": lambda: volume["Driver"],
            "Scope": lambda: volume.get("Scope", ""),
            "Mountpoint": lambda: volume.get("Mountpoint", ""),
            "Labels": lambda: joined(labels),
            "Links": lambda: str(usage.get("RefCount", "N/A")) if usage else "N/A",
            "Size": lambda: human_size(size) if size != -1 else "N/A",
            "Group": lambda: "N/A",
            "Availability": lambda: "N/A",
            "Status": lambda: "N/A",
        },
        labels,
    )


def _ls(session: Session, options: Options, arguments: list[str]) -> int:
    if options["cluster"]:
        raise CliError("cluster volumes need a Swarm, which Wherry does not have")
    query = {"filters": filters.encode(options["filter"])}
    volumes = session.client.call("GET", "/volumes", query=query).get("Volumes") or []
    form = options["format"]
    if not form and not options["quiet"]:
        form = session.config.text("volumesFormat")
    listing(
        [volume_row(v) for v in sorted(volumes, key=lambda volume: natural(volume["Name"]))],
        TITLES,
        form,
        "{{.Driver}}\t{{.Name}}",
        quiet=options["quiet"],
        quiet_form="{{.Name}}",
        labels=True,
    )
    return 0


LS = Command(
    "ls [OPTIONS]",
    _ls,
    flags=(
        Flag("cluster", "", BOOL, "Display only cluster volumes", hidden=True),
        Flag("filter", "f", FILTER, 'Conditions such as "dangling=true"'),
        Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
        Flag("quiet", "q", BOOL, "Only display volume names"),
    ),
    arguments=none,
)
