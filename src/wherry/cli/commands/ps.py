"""``wherry ps``"""

from __future__ import annotations

import time

from wherry.cli import filters, references
from wherry.cli.command import Command, none
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.gotemplate import Template, TemplateError
from wherry.cli.kinds import BOOL, FILTER, INT, STRING
from wherry.cli.ports_column import ports_column
from wherry.cli.tables import Row, ellipsis, joined, listing, short_id
from wherry.cli.units import age, local_stamp, short_size
from wherry.golang import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_TABLE = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
_RAW = """container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
"""
_TITLES = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
}


def _names(entry: dict[str, Any], trunc: bool) -> str:
    names = [name.removeprefix("/") for name in entry.get("Names") or []]
    if trunc:
        names = [name for name in names if "/" not in name]
    return ",".join(names)


def _image(entry: dict[str, Any], trunc: bool) -> str:
    image = str(entry.get("Image") or "")
    if not image:
        return "<no image>"
    if not trunc:
        return image
    identity = short_id(str(entry.get("ImageID") or ""))
    if identity == short_id(image):
        return identity
    if image.startswith("sha256:"):
        return image
    return references.familiar(image)


def _size(entry: dict[str, Any]) -> str:
    own = short_size(entry.get("SizeRw") or 0)
    total = entry.get("SizeRootFs") or 0
    return f"{own} (virtual {short_size(total)})" if total > 0 else own


def _mounts(entry: dict[str, Any], trunc: bool) -> str:
    names = [mount.get("Name") or mount.get("Source") or "" for mount in entry.get("Mounts") or []]
    return ",".join(ellipsis(name, 15) if trunc else name for name in names)


def container_row(entry: dict[str, Any], *, trunc: bool) -> Row:
    """A row of a container's list entry."""
    created = int(entry.get("Created") or 0)
    command = str(entry.get("Command") or "")
    labels: dict[str, str] = entry.get("Labels") or {}
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    return Row(
        "ContainerContext",
        {
            "ID": lambda: short_id(entry["Id"]) if trunc else entry["Id"],
            "Names": lambda: _names(entry, trunc),
            "Image": lambda: _image(entry, trunc),
            "Command": lambda: quote(ellipsis(command, 20) if trunc else command),
            "CreatedAt": lambda: local_stamp(created),
            "RunningFor": lambda: f"{age(time.time() - created)} ago",
            "Ports": lambda: ports_column(entry.get("Ports") or []),
            "Platform": lambda: (entry.get("ImageManifestDescriptor") or {}).get("platform"),
            "State": lambda: entry.get("State", ""),
            "Status": lambda: entry.get("Status", ""),
            "Size": lambda: _size(entry),
            "Labels": lambda: joined(labels),
            "Mounts": lambda: _mounts(entry, trunc),
            "LocalVolumes": lambda: str(
                sum(mount.get("Driver") == "local" for mount in entry.get("Mounts") or [])
            ),
            "Networks": lambda: ",".join(sorted(networks)),
        },
        labels,
    )


def _check(form: str) -> None:
    """Try a template on an empty row, so that a mistake shows without containers too."""
    try:
        Template(form.replace("\\t", "\t")).render(container_row({"Id": ""}, trunc=True))
    except TemplateError as error:
        action = "execute" if "executing" in str(error) else "parse"
        raise CliError(f"failed to {action} template: {error}") from None


def _ps(session: Session, options: Options, arguments: list[str]) -> int:
    form = options["format"]
    if form and options["quiet"]:
        session.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.")
        form = ""
    if not form and not options["quiet"]:
        form = session.config.text("psFormat")
    last = 1 if options["latest"] and options["last"] == -1 else options["last"]
    if form and not form.startswith("table") and form not in ("json", "raw"):
        _check(form)
    size = options["size"] or ".Size" in form or "json ." in form
    query: dict[str, Any] = {
        "all": options["all"] or None,
        "limit": last if last > 0 else None,
        "size": size or None,
        "filters": filters.encode(options["filter"]),
    }
    entries = session.client.call("GET", "/containers/json", query=query)
    trunc = not options["no-trunc"]
    listing(
        [container_row(entry, trunc=trunc) for entry in entries],
        _TITLES,
        form,
        _TABLE + ("\t{{.Size}}" if options["size"] else ""),
        raw=_RAW + ("size: {{.Size}}\n" if options["size"] else ""),
        quiet=options["quiet"],
        labels=True,
    )
    return 0


_FLAGS = (
    Flag("all", "a", BOOL, "Show all containers (default shows just running)"),
    Flag("filter", "f", FILTER, "Filter output based on conditions"),
    Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
    Flag("last", "n", INT, "Show n last created containers, whatever their state", default=-1),
    Flag("latest", "l", BOOL, "Show the latest created container, whatever its state"),
    Flag("no-trunc", "", BOOL, "Don't truncate output"),
    Flag("quiet", "q", BOOL, "Only display container ids"),
    Flag("size", "s", BOOL, "Display total file sizes"),
)

PS = LS = Command("ps [OPTIONS]", _ps, flags=_FLAGS, arguments=none)
