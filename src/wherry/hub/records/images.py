"""Tags and images as people see them: sizes, platforms, layers, history."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy import Connection, func, select

from wherry.hub.distribution.manifest import MOST_STEPS, readable, run_settings
from wherry.hub.schema import manifest_children, manifests, tags, trashed_tags

_MOST_ANNOTATIONS = 200


@dataclass(frozen=True)
class PlatformImage:
    """One image behind a tag."""

    platform: str
    digest: str
    size: int
    present: bool = True


@dataclass(frozen=True)
class TagView:
    """One line of the tags page."""

    name: str
    digest: str
    kind: str
    artifact_type: str
    updated: int
    updated_by: str
    created: int | None
    size: int
    images: list[PlatformImage] = field(default_factory=list)

    @property
    def platforms(self) -> list[str]:
        """Platforms of the images that are here, without attestations and the like."""
        return [
            image.platform
            for image in self.images
            if image.platform and not image.platform.startswith("unknown")
        ]


@dataclass(frozen=True)
class LayerView:
    """One step of an image's history; steps that made no layer have no digest."""

    command: str
    digest: str
    size: int
    created: str


def tag_views(
    conn: Connection, repository: int, *, limit: int, skip: int = 0, part: str = ""
) -> list[TagView]:
    """Tags whose names hold ``part``, last changed first, without the first ``skip``."""
    rows = conn.execute(
        select(
            tags.c.name,
            tags.c.updated,
            tags.c.updated_by,
            manifests.c.id,
            manifests.c.digest,
            manifests.c.kind,
            manifests.c.artifact_type,
            manifests.c.created,
            manifests.c.platform,
            manifests.c.total_size,
        )
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(*_named(repository, part))
        .order_by(tags.c.updated.desc(), tags.c.name.desc())
        .limit(limit)
        .offset(skip)
    ).all()
    children = _children(conn, repository, [row.id for row in rows if row.kind == "index"])
    views = []
    for row in rows:
        images = children.get(row.id) or [PlatformImage(row.platform, row.digest, row.total_size)]
        size = max((image.size for image in images), default=0)
        views.append(
            TagView(
                row.name,
                row.digest,
                row.kind,
                row.artifact_type,
                row.updated,
                row.updated_by,
                row.created,
                size,
                images,
            )
        )
    return views


def _children(
    conn: Connection, repository: int, indexes: list[int]
) -> dict[int, list[PlatformImage]]:
    if not indexes:
        return {}
    rows = conn.execute(
        select(
            manifest_children.c.manifest_id,
            manifests.c.platform,
            manifests.c.digest,
            manifests.c.total_size,
        )
        .join(
            manifests,
            (manifests.c.repository_id == manifest_children.c.repository_id)
            & (manifests.c.digest == manifest_children.c.digest),
        )
        .where(
            manifest_children.c.repository_id == repository,
            manifest_children.c.manifest_id.in_(indexes),
            manifests.c.deleted.is_(None),
        )
        .order_by(manifests.c.platform)
    )
    found: dict[int, list[PlatformImage]] = {}
    for row in rows:
        found.setdefault(row.manifest_id, []).append(
            PlatformImage(row.platform, row.digest, row.total_size)
        )
    return found


def count_tags(conn: Connection, repository: int, part: str = "") -> int:
    """How many tags the repository has whose names hold ``part``."""
    query = select(func.count()).select_from(tags).where(*_named(repository, part))
    return conn.execute(query).scalar_one()


def _named(repository: int, part: str) -> list[Any]:
    """Conditions for tags whose names hold ``part``, whatever the case."""
    conditions: list[Any] = [tags.c.repository_id == repository]
    if part:
        conditions.append(func.lower(tags.c.name).contains(part.lower(), autoescape=True))
    return conditions


def image(conn: Connection, repository: int, digest: str) -> dict[str, Any] | None:
    """A manifest with what the site shows of it: layers, history, run settings."""
    row = conn.execute(
        select(manifests).where(
            manifests.c.repository_id == repository,
            manifests.c.digest == digest,
            manifests.c.deleted.is_(None),
        )
    ).first()
    if row is None:
        return None
    document = json.loads(row.content)
    config = row.config or {}
    return {
        "id": row.id,
        "digest": row.digest,
        "kind": row.kind,
        "media_type": row.media_type,
        "artifact_type": row.artifact_type,
        "platform": row.platform,
        "size": row.total_size,
        "created": row.created,
        "pushed": row.pushed,
        "pushed_by": row.pushed_by,
        "annotations": notes(document),
        "layers": layers(document, config),
        "settings": settings(run if isinstance(run := config.get("config"), dict) else {}),
        "children": _children(conn, repository, [row.id]).get(row.id, [])
        if row.kind == "index"
        else [],
    }


def layers(document: dict[str, Any], config: dict[str, Any]) -> list[LayerView]:
    """The history of an image with the layer that each step made, up to ``MOST_STEPS`` of both."""
    blobs = iter(document.get("layers") or [])
    views = []
    for step in (config.get("history") or [])[:MOST_STEPS]:
        if not isinstance(step, dict):
            continue
        command = clean_command(str(step.get("created_by") or step.get("comment") or ""))
        created = str(step.get("created") or "")
        layer = None if step.get("empty_layer") else next(blobs, None)
        if layer is None:
            views.append(LayerView(command, "", 0, created))
        else:
            views.append(LayerView(command, layer["digest"], layer["size"], created))
    rest = islice(blobs, max(MOST_STEPS - len(views), 0))
    return views + [LayerView("", layer["digest"], layer["size"], "") for layer in rest]


def notes(document: dict[str, Any]) -> dict[str, str]:
    """The manifest's annotations as a page can show them."""
    found = document.get("annotations")
    if not isinstance(found, dict):
        return {}
    entries = list(found.items())[:_MOST_ANNOTATIONS]
    return {readable(key, 300): readable(str(value), 500) for key, value in entries}


def clean_command(text: str) -> str:
    """A history line the way it was written in the Dockerfile."""
    for prefix in ("/bin/sh -c #(nop) ", "/bin/sh -c #(nop)"):
        if text.startswith(prefix):
            return text.removeprefix(prefix).strip()
    if text.startswith("/bin/sh -c "):
        return f"RUN {text.removeprefix('/bin/sh -c ').strip()}"
    return text.removesuffix("# buildkit").strip()


def settings(config: dict[str, Any]) -> list[tuple[str, str]]:
    """What a container of the image would run with, as lines for a table."""
    known = run_settings(config)
    lines = []
    for key in ("Entrypoint", "Cmd", "User", "WorkingDir", "StopSignal"):
        value = known.get(key)
        if value:
            lines.append((key, json.dumps(value) if isinstance(value, list) else value))
    for key, label in (("ExposedPorts", "Ports"), ("Volumes", "Volumes")):
        if known.get(key):
            lines.append((label, ", ".join(sorted(known[key]))))
    lines += [("Env", entry) for entry in known.get("Env", [])]
    lines += [("Label", f"{key}={value}") for key, value in sorted(known.get("Labels", {}).items())]
    return lines


def trash(conn: Connection, repository: int) -> list[dict[str, Any]]:
    """Deleted tags that can be restored, newest first."""
    rows = conn.execute(
        select(
            trashed_tags.c.id,
            trashed_tags.c.name,
            trashed_tags.c.deleted,
            trashed_tags.c.deleted_by,
            manifests.c.digest,
        )
        .join(manifests, manifests.c.id == trashed_tags.c.manifest_id)
        .where(trashed_tags.c.repository_id == repository)
        .order_by(trashed_tags.c.id.desc())
        .limit(100)
    )
    return [dict(row._mapping) for row in rows]
