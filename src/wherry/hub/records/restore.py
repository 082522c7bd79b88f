"""Bringing deleted tags back."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from wherry.errors import Conflict, NotFound
from wherry.hub.records import blobs, manifests
from wherry.hub.schema import manifest_blobs, manifest_children, trashed_tags
from wherry.hub.schema import manifests as table


def restore_tag(conn: Connection, repository: int, trashed: int, actor: str) -> str:
    """Puts a deleted tag, its manifest and the manifests below it back; returns its name.

    Raises NotFound when it is not in the trash, Conflict when the name is used again or blobs
    of it were deleted one by one.
    """
    row = conn.execute(
        select(trashed_tags.c.name, trashed_tags.c.manifest_id).where(
            trashed_tags.c.id == trashed, trashed_tags.c.repository_id == repository
        )
    ).first()
    if row is None:
        raise NotFound("the tag is not in the trash any more")
    if manifests.tag_digest(conn, repository, row.name) is not None:
        raise Conflict(f"there is a tag {row.name} again; rename or delete it first")
    _revive(conn, repository, row.manifest_id)
    manifests.set_tag(conn, repository, row.name, row.manifest_id, actor)
    conn.execute(trashed_tags.delete().where(trashed_tags.c.id == trashed))
    name: str = row.name
    return name


def _revive(conn: Connection, repository: int, manifest: int) -> None:
    needed = conn.execute(
        select(manifest_blobs.c.digest).where(manifest_blobs.c.manifest_id == manifest)
    )
    missing = blobs.touch(conn, repository, [row.digest for row in needed])
    if missing:
        raise Conflict(f"blobs of the image are gone: {', '.join(missing)}")
    conn.execute(update(table).where(table.c.id == manifest).values(deleted=None))
    below = conn.execute(
        select(table.c.id)
        .join(
            manifest_children,
            (manifest_children.c.repository_id == table.c.repository_id)
            & (manifest_children.c.digest == table.c.digest),
        )
        .where(manifest_children.c.manifest_id == manifest, table.c.deleted.is_not(None))
    ).all()
    for row in below:
        _revive(conn, repository, row.id)
