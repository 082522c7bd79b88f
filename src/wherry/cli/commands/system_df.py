"""``wherry system df``"""

from __future__ import annotations

import time

from wherry.cli.command import Command, none
from wherry.cli.commands.images import image_row, names
from wherry.cli.commands.ps import container_row
from wherry.cli.commands.volume_ls import volume_row
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.tables import Row, columns, listing, short_id
from wherry.cli.units import age, human_size, parse_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

    Usage = dict[str, Any]

_TITLES = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_TABLE = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"


def _row(kind: str, total: int, active: int, size: float, free: float, percent: bool) -> Row:
    def reclaimable() -> str:
        if percent and size > 0:
            return f"{human_size(free)} ({int(free * 100 / size)}%)"
        return human_size(free)

    values: dict[str, Callable[[], Any]] = {
        "Type": lambda: kind,
        "TotalCount": lambda: str(total),
        "Active": lambda: str(active),
        "Size": lambda: human_size(size),
        "Reclaimable": reclaimable,
    }
    return Row("diskUsageImagesContext", values)


def summary(usage: Usage) -> list[Row]:
    """The four rows of the short form."""
    images = usage.get("Images") or []
    containers = usage.get("Containers") or []
    volumes = usage.get("Volumes") or []
    cache = usage.get("BuildCache") or []
    layers = int(usage.get("LayersSize") or 0)
    used = sum(
        int(image.get("Size") or 0) - max(int(image.get("SharedSize") or 0), 0)
        for image in images
        if image.get("Containers")
    )
    running = [c for c in containers if c.get("State") in ("running", "paused", "restarting")]
    sizes = sum(int(c.get("SizeRw") or 0) for c in containers)
    active = sum(int(c.get("SizeRw") or 0) for c in running)
    known = [v for v in volumes if (v.get("UsageData") or {}).get("Size", -1) != -1]
    volume_size = sum(v["UsageData"]["Size"] for v in known)
    unused = sum(v["UsageData"]["Size"] for v in known if not v["UsageData"].get("RefCount"))
    cache_size = sum(int(entry.get("Size") or 0) for entry in cache if not entry.get("Shared"))
    in_use = sum(int(e.get("Size") or 0) for e in cache if e.get("InUse") and not e.get("Shared"))
    linked = sum(bool((v.get("UsageData") or {}).get("RefCount")) for v in volumes)
    return [
        _row(
            "Images",
            len(images),
            sum(bool(i.get("Containers")) for i in images),
            layers,
            max(layers - used, 0),
            True,
        ),
        _row("Containers", len(containers), len(running), sizes, sizes - active, True),
        _row("Local Volumes", len(volumes), linked, volume_size, unused, True),
        _row(
            "Build Cache",
            len(cache),
            sum(bool(e.get("InUse")) for e in cache),
            cache_size,
            cache_size - in_use,
            False,
        ),
    ]


def _section(rows: list[Row], titles: dict[str, str]) -> str:
    """A table of the verbose form."""
    lines = ["\t".join(titles.values())]
    lines += ["\t".join(str(row.field(name)) for name in titles) for row in rows]
    return columns(lines)


def _verbose(session: Session, usage: Usage) -> int:
    images = [
        image_row({**image, "Containers": image.get("Containers") or 0}, *name, trunc=True)
        for image in usage.get("Images") or []
        for name in list(names(image, digests=False))[:1]
    ]
    session.say("Images space usage:\n")
    session.say(
        _section(
            images,
            {
                "Repository": "REPOSITORY",
                "Tag": "TAG",
                "ID": "IMAGE ID",
                "CreatedSince": "CREATED",
                "Size": "SIZE",
                "SharedSize": "SHARED SIZE",
                "UniqueSize": "UNIQUE SIZE",
                "Containers": "CONTAINERS",
            },
        )
    )
    session.say("Containers space usage:\n")
    session.say(
        _section(
            [
                container_row({**entry, "SizeRootFs": 0}, trunc=True)
                for entry in usage.get("Containers") or []
            ],
            {
                "ID": "CONTAINER ID",
                "Image": "IMAGE",
                "Command": "COMMAND",
                "LocalVolumes": "LOCAL VOLUMES",
                "Size": "SIZE",
                "RunningFor": "CREATED",
                "Status": "STATUS",
                "Names": "NAMES",
            },
        )
    )
    session.say("Local Volumes space usage:\n")
    volumes = [volume_row(volume) for volume in usage.get("Volumes") or []]
    session.say(_section(volumes, {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}))
    cache = usage.get("BuildCache") or []
    total = sum(int(entry.get("Size") or 0) for entry in cache if not entry.get("Shared"))
    session.say(f"Build cache usage: {human_size(total)}\n")
    session.write(
        _section(
            [_cache_row(entry) for entry in cache],
            {
                "ID": "CACHE ID",
                "CacheType": "CACHE TYPE",
                "Size": "SIZE",
                "CreatedSince": "CREATED",
                "LastUsedSince": "LAST USED",
                "UsageCount": "USAGE",
                "Shared": "SHARED",
            },
        )
    )
    return 0


def _cache_row(entry: dict[str, Any]) -> Row:
    def since(key: str) -> str:
        moment = parse_time(entry.get(key) or "")
        return f"{age(time.time() - moment)} ago" if moment else ""

    return Row(
        "buildCacheContext",
        {
            "ID": lambda: short_id(entry["ID"]) + ("*" if entry.get("InUse") else ""),
            "CacheType": lambda: entry.get("Type", ""),
            "Size": lambda: human_size(entry.get("Size") or 0),
            "CreatedSince": lambda: since("CreatedAt"),
            "LastUsedSince": lambda: since("LastUsedAt"),
            "UsageCount": lambda: str(entry.get("UsageCount", 0)),
            "Shared": lambda: "true" if entry.get("Shared") else "false",
        },
    )


def _df(session: Session, options: Options, arguments: list[str]) -> int:
    form = options["format"]
    if options["verbose"] and form not in ("", "json", "{{json .}}"):
        raise CliError("the verbose form is a table or json")
    usage = session.client.call("GET", "/system/df")
    if options["verbose"]:
        if form:
            from wherry.cli.gotemplate.functions import to_json

            keys = ("Images", "Containers", "Volumes", "BuildCache")
            session.say(to_json({key: usage.get(key) or [] for key in keys}))
            return 0
        return _verbose(session, usage)
    listing(summary(usage), _TITLES, form, _TABLE)
    return 0


DF = Command(
    "df [OPTIONS]",
    _df,
    flags=(
        Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
        Flag("verbose", "v", BOOL, "Show detailed information on space usage"),
    ),
    arguments=none,
)
