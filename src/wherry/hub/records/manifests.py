"""Manifests, what they refer to, and the tags that name them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, select, update

from wherry.hub.database import upsert
from wherry.hub.distribution.manifest import ImageFacts, ParsedManifest
from wherry.hub.schema import (
    manifest_blobs,
    manifest_children,
    manifests,
    repositories,
    tags,
    trashed_tags,
)


@dataclass(frozen=True)
class Manifest:
    """A manifest as a client gets it."""

    id: int
    digest: str
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Referrer:
    """One line of a referrers listing."""

    media_type: str
    digest: str
    size: int
    artifact_type: str
    content: bytes


_live = manifests.c.deleted.is_(None)
_CONTENT = (manifests.c.id, manifests.c.digest, manifests.c.media_type, manifests.c.content)


def by_digest(conn: Connection, repository: int, digest: str) -> Manifest | None:
    """The manifest with that digest."""
    row = conn.execute(
        select(*_CONTENT).where(
            manifests.c.repository_id == repository, manifests.c.digest == digest, _live
        )
    ).first()
    return Manifest(*row) if row else None


def by_tag(conn: Connection, repository: int, tag: str) -> Manifest | None:
    """The manifest that the tag names."""
    row = conn.execute(
        select(*_CONTENT)
        .join(tags, tags.c.manifest_id == manifests.c.id)
        .where(tags.c.repository_id == repository, tags.c.name == tag)
    ).first()
    return Manifest(*row) if row else None


def add(
    conn: Connection,
    repository: int,
    digest: str,
    content: bytes,
    parsed: ParsedManifest,
    image: ImageFacts | None,
    created: int | None,
    actor: str,
) -> int:
    """Stores a manifest with its references and returns its id; brings it back from the trash."""
    now = int(time.time())
    values = {
        "media_type": parsed.media_type,
        "content": content,
        "size": len(content),
        "kind": parsed.kind,
        "subject": parsed.subject,
        "artifact_type": parsed.artifact_type,
        "platform": image.platform if image else "",
        "total_size": parsed.size,
        "config": image.config if image else None,
        "created": created,
        "pushed": now,
        "pushed_by": actor,
        "deleted": None,
    }
    conn.execute(
        upsert(conn, manifests)
        .values(repository_id=repository, digest=digest, **values)
        .on_conflict_do_update(index_elements=["repository_id", "digest"], set_=values)
    )
    manifest = conn.execute(
        select(manifests.c.id).where(
            manifests.c.repository_id == repository, manifests.c.digest == digest
        )
    ).scalar_one()
    for table, digests in (
        (manifest_blobs, parsed.required),
        (manifest_children, tuple(dict.fromkeys(child.digest for child in parsed.children))),
    ):
        if digests:
            conn.execute(
                upsert(conn, table).on_conflict_do_nothing(),
                [
                    {"manifest_id": manifest, "repository_id": repository, "digest": each}
                    for each in digests
                ],
            )
    conn.execute(update(repositories).where(repositories.c.id == repository).values(pushed=now))
    return int(manifest)


def is_child(conn: Connection, repository: int, digest: str) -> bool:
    """Whether an index of the repository lists this manifest."""
    row = conn.execute(
        select(manifest_children.c.manifest_id)
        .where(
            manifest_children.c.repository_id == repository, manifest_children.c.digest == digest
        )
        .limit(1)
    ).first()
    return row is not None


def set_tag(conn: Connection, repository: int, tag: str, manifest: int, actor: str) -> None:
    """Points a tag at a manifest."""
    values = {"manifest_id": manifest, "updated": int(time.time()), "updated_by": actor}
    conn.execute(
        upsert(conn, tags)
        .values(repository_id=repository, name=tag, **values)
        .on_conflict_do_update(index_elements=["repository_id", "name"], set_=values)
    )


def tag_digest(conn: Connection, repository: int, tag: str) -> str | None:
    """The digest that a tag names now."""
    return conn.execute(
        select(manifests.c.digest)
        .join(tags, tags.c.manifest_id == manifests.c.id)
        .where(tags.c.repository_id == repository, tags.c.name == tag)
    ).scalar()


def remove_tag(conn: Connection, repository: int, tag: str, actor: str) -> bool:
    """Moves a tag to the trash; False when it is not there."""
    row = conn.execute(
        select(tags.c.manifest_id).where(tags.c.repository_id == repository, tags.c.name == tag)
    ).first()
    if row is None:
        return False
    conn.execute(tags.delete().where(tags.c.repository_id == repository, tags.c.name == tag))
    conn.execute(
        trashed_tags.insert().values(
            repository_id=repository,
            name=tag,
            manifest_id=row.manifest_id,
            deleted=int(time.time()),
            deleted_by=actor,
        )
    )
    return True


def remove(conn: Connection, repository: int, digest: str, actor: str) -> list[str] | None:
    """Moves a manifest and the tags on it to the trash; the tags, or None if it is not there."""
    manifest = by_digest(conn, repository, digest)
    if manifest is None:
        return None
    names = tags_on(conn, repository, digest)
    for name in names:
        remove_tag(conn, repository, name, actor)
    conn.execute(
        update(manifests).where(manifests.c.id == manifest.id).values(deleted=int(time.time()))
    )
    return names


def tags_on(conn: Connection, repository: int, digest: str) -> list[str]:
    """The tags that name a manifest."""
    rows = conn.execute(
        select(tags.c.name)
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(tags.c.repository_id == repository, manifests.c.digest == digest)
        .order_by(tags.c.name)
    )
    return [row.name for row in rows]


def tags_needing(conn: Connection, repository: int, digest: str) -> list[str]:
    """The tags that name a manifest, or an index over it at any depth."""
    itself = select(manifests.c.id).where(
        manifests.c.repository_id == repository, manifests.c.digest == digest, _live
    )
    return _tags_above(conn, repository, itself)


def tags_needing_blob(conn: Connection, repository: int, digest: str) -> list[str]:
    """The tags of manifests that need a blob, and of indexes over those."""
    users = select(manifest_blobs.c.manifest_id.label("id")).where(
        manifest_blobs.c.repository_id == repository, manifest_blobs.c.digest == digest
    )
    return _tags_above(conn, repository, users)


def _tags_above(conn: Connection, repository: int, start: Select[tuple[int]]) -> list[str]:
    # A union drops what was found before: each manifest is climbed from once, loops end.
    above = start.cte("above", recursive=True)
    parents = (
        select(manifest_children.c.manifest_id)
        .join(
            manifests,
            (manifests.c.repository_id == manifest_children.c.repository_id)
            & (manifests.c.digest == manifest_children.c.digest),
        )
        .join(above, above.c.id == manifests.c.id)
        .where(manifest_children.c.repository_id == repository)
    )
    above = above.union(parents)
    rows = conn.execute(
        select(tags.c.name)
        .where(tags.c.repository_id == repository, tags.c.manifest_id.in_(select(above.c.id)))
        .order_by(tags.c.name)
    )
    return [row.name for row in rows]


def tag_names(conn: Connection, repository: int, after: str, limit: int | None) -> list[str]:
    """Tags in byte order after ``after``."""
    query = (
        select(tags.c.name)
        .where(tags.c.repository_id == repository, tags.c.name > after)
        .order_by(tags.c.name)
    )
    return [row.name for row in conn.execute(query.limit(limit) if limit is not None else query)]


def referrers(
    conn: Connection, repository: int, subject: str, after: int, limit: int
) -> list[tuple[int, Referrer]]:
    """Manifests whose subject is ``subject``, by id, for paging."""
    rows = conn.execute(
        select(
            manifests.c.id,
            manifests.c.media_type,
            manifests.c.digest,
            manifests.c.size,
            manifests.c.artifact_type,
            manifests.c.content,
        )
        .where(
            and_(
                manifests.c.repository_id == repository,
                manifests.c.subject == subject,
                manifests.c.id > after,
                _live,
            )
        )
        .order_by(manifests.c.id)
        .limit(limit)
    )
    return [(row.id, Referrer(*row[1:])) for row in rows]


def describe(conn: Connection, repository: int, digest: str) -> dict[str, Any] | None:
    """All columns of a manifest, for the site."""
    row = conn.execute(
        select(manifests).where(
            manifests.c.repository_id == repository, manifests.c.digest == digest, _live
        )
    ).first()
    return dict(row._mapping) if row else None
