"""``wherry images``"""

from __future__ import annotations

import time

from wherry.cli import filters, references
from wherry.cli.command import Command, at_most
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, FILTER, STRING
from wherry.cli.tables import Row, listing, short_id
from wherry.cli.units import age, human_size, local_stamp, short_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_NONE = "<none>"
_CREATED = "{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}"
_TITLES = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


def names(entry: dict[str, Any], *, digests: bool) -> Iterator[tuple[str, str, str]]:
    """(repository, tag, digest) of each line that an image takes."""
    tags = _by_repository(entry.get("RepoTags"), 1)
    known = _by_repository(entry.get("RepoDigests"), 2)
    for repository in tags | known:
        shown = known.get(repository, []) if digests else []
        for tag in tags.get(repository, [_NONE]):
            for digest in shown or [_NONE]:
                yield repository, tag, digest
    if not tags and not known:
        yield _NONE, _NONE, _NONE


def _by_repository(listed: list[str] | None, part: int) -> dict[str, list[str]]:
    """The tags (``part`` 1) or digests (2) of full names, by familiar repository."""
    found: dict[str, list[str]] = {}
    for name in listed or []:
        if not name.startswith(_NONE):
            parts = references.split(name)
            found.setdefault(references.familiar(parts[0]), []).append(parts[part])
    return found


def image_row(entry: dict[str, Any], repository: str, tag: str, digest: str, *, trunc: bool) -> Row:
    """One line of the listing."""
    created = int(entry.get("Created") or 0)
    size = entry.get("Size") or 0
    shared = entry.get("SharedSize", -1)
    containers = entry.get("Containers", -1)
    return Row(
        "imageContext",
        {
            "ID": lambda: short_id(entry["Id"]) if trunc else entry["Id"],
            "Repository": lambda: repository,
            "Tag": lambda: tag,
            "Digest": lambda: digest,
            "CreatedSince": lambda: f"{age(time.time() - created)} ago" if created > 0 else "",
            "CreatedAt": lambda: local_stamp(created),
            "Size": lambda: short_size(size),
            "Containers": lambda: "N/A" if containers == -1 else str(containers),
            "VirtualSize": lambda: human_size(size),
            "SharedSize": lambda: "N/A" if shared == -1 else human_size(shared),
            "UniqueSize": lambda: "N/A" if shared == -1 else human_size(size - shared),
        },
    )


def _images(session: Session, options: Options, arguments: list[str]) -> int:
    chosen = dict(options["filter"])
    if arguments:
        chosen["reference"] = [*chosen.get("reference", []), arguments[0]]
    query = {"all": options["all"] or None, "filters": filters.encode(chosen)}
    if options["tree"]:
        return _tree(session, options, query)
    form = options["format"]
    if not form and not options["quiet"]:
        form = session.config.text("imagesFormat")
    entries = session.client.call("GET", "/images/json", query=query)
    digests = options["digests"] or ".Digest" in form
    trunc = not options["no-trunc"]
    if options["quiet"] and not form:
        rows = [image_row(entry, "", "", "", trunc=trunc) for entry in entries]
    else:
        rows = [
            image_row(entry, *name, trunc=trunc)
            for entry in entries
            for name in names(entry, digests=digests)
        ]
    digest_column = "\t{{.Digest}}" if options["digests"] else ""
    listing(
        rows,
        _TITLES,
        form,
        f"{{{{.Repository}}}}\t{{{{.Tag}}}}{digest_column}\t{{{{.ID}}}}\t{_CREATED}\t{{{{.Size}}}}",
        quiet=options["quiet"],
    )
    return 0


def _tree(session: Session, options: Options, query: dict[str, Any]) -> int:
    """Images with the platforms that each holds."""
    for other in ("quiet", "no-trunc", "digests", "format"):
        if options[other]:
            raise CliError(f"--{other} is not yet supported with --tree")
    entries = session.client.call("GET", "/images/json", query={**query, "manifests": True})
    lines = []
    from wherry.cli.tables import columns

    for entry in entries:
        shown = entry.get("RepoTags") or ["<untagged>"]
        used = "U" if (entry.get("Containers") or 0) > 0 else ""
        size = short_size(entry.get("Size") or 0)
        lines.append(f"{', '.join(shown)}\t{short_id(entry['Id'])}\t{size}\t{used}")
        manifests = [m for m in entry.get("Manifests") or [] if m.get("Kind") == "image"]
        for manifest in manifests if len(manifests) > 1 else []:
            platform = (manifest.get("ImageData") or {}).get("Platform") or {}
            name = "/".join(
                str(platform[key]) for key in ("os", "architecture", "variant") if platform.get(key)
            )
            total = (manifest.get("Size") or {}).get("Total") or 0
            lines.append(f"└─ {name}\t{short_id(manifest['ID'])}\t{short_size(total)}\t")
    session.write(columns(["IMAGE\tID\tDISK USAGE\tIN USE", *lines]))
    return 0


_FLAGS = (
    Flag("all", "a", BOOL, "Show all images (default hides intermediate ones)"),
    Flag("digests", "", BOOL, "Show digests"),
    Flag("filter", "f", FILTER, "Filter output based on conditions"),
    Flag("format", "", STRING, "Format output: table, table TEMPLATE, json, or TEMPLATE"),
    Flag("no-trunc", "", BOOL, "Don't truncate output"),
    Flag("quiet", "q", BOOL, "Only show image ids"),
    Flag("tree", "", BOOL, "List the platforms of images that have several"),
)

IMAGES = LS = Command(
    "images [OPTIONS] [REPOSITORY[:TAG]]", _images, flags=_FLAGS, arguments=at_most(1)
)
