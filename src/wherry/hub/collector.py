"""Garbage collection, beside pushes and pulls.

Nothing is locked and nothing stands still. Rows go only when nothing refers to them and nobody
touched them for ``collect_grace``; the check and the deletion are one statement, and what
would save a row (a push that relies on it) first touches it. Files go after their rows, by
locations that are never used twice. Every step can stop half-way: the next run goes on.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, select

from wherry.hub.accounts import limits
from wherry.hub.hub import Hub
from wherry.hub.records import expiry, uploads
from wherry.hub.registry.uploads import IDLE_SECONDS
from wherry.hub.schema import (
    blobs,
    manifest_blobs,
    manifest_children,
    manifests,
    repository_blobs,
    tags,
    trashed_tags,
)

log = logging.getLogger("wherry.hub")
_BATCH = 1000


@dataclass(frozen=True)
class Collected:
    """What one run removed."""

    uploads: int
    trashed: int
    links: int
    blobs: int
    bytes: int
    orphans: int

    def summary(self) -> str:
        """For people: what went, and how many bytes of blobs."""
        parts = (
            (self.uploads, "uploads"),
            (self.trashed, "trashed tags and manifests"),
            (self.links, "links"),
            (self.blobs, "blobs"),
            (self.orphans, "orphaned files"),
        )
        gone = ", ".join(f"{count} {what}" for count, what in parts if count)
        return f"removed {gone}; {self.bytes} bytes of blobs" if gone else "nothing to remove"


async def collect(hub: Hub, *, now: float | None = None, sweep: bool = False) -> Collected:
    """Removes what nothing needs any more.

    ``sweep`` is for operators who want room now: uploads that stood still for an hour go too, and
    files that no row knows.
    """
    moment = int(time.time() if now is None else now)
    config = hub.config
    before = moment - config.collect_grace
    lifetime = min(config.upload_lifetime, IDLE_SECONDS) if sweep else config.upload_lifetime
    abandoned = await _drop_uploads(hub, moment - lifetime)
    if sweep:
        abandoned += await _drop_forgotten(hub, moment - IDLE_SECONDS)
    trashed = await hub.db.write(empty_trash, moment - config.trash_lifetime)
    await hub.db.write(limits.forget, moment)
    while await hub.db.write(expiry.forget, moment, config.audit_lifetime):
        pass
    links = 0
    while gone := await hub.db.write(drop_links, before):
        links += gone
    count = size = 0
    while rows := await hub.db.write(drop_blobs, before):
        for location, length in rows:
            await hub.storage.delete(location)
            count, size = count + 1, size + length
    orphans = await _sweep(hub, before) if sweep else 0
    hub.reserve.hold()
    result = Collected(abandoned, trashed, links, count, size, orphans)
    if any((abandoned, trashed, links, count, orphans)):
        log.info("collected %s", result)
    hub.metrics.event("collected_bytes", size)
    return result


async def _drop_uploads(hub: Hub, before: int) -> int:
    count = 0
    while expired := await hub.db.read(uploads.expired, before):
        # All bytes before the first row: on a full disk that makes the room for the rows.
        for upload in expired:
            await hub.storage.cancel(upload.id, upload.state)
        await hub.db.write(uploads.remove_all, [upload.id for upload in expired])
        count += len(expired)
    return count


async def _drop_forgotten(hub: Hub, before: int) -> int:
    """Frees uploads that the storage has and no row knows: what a crash left."""
    count = 0
    async for upload, state in hub.storage.forgotten(before):
        if not await hub.db.read(uploads.exists, upload):
            await hub.storage.cancel(upload, state)
            count += 1
    return count


def empty_trash(conn: Connection, before: int) -> int:
    """Forgets tags and manifests that were deleted before then."""
    old_tags = conn.execute(trashed_tags.delete().where(trashed_tags.c.deleted < before))
    old = conn.execute(manifests.delete().where(manifests.c.deleted < before))
    return old_tags.rowcount + old.rowcount


def drop_links(conn: Connection, before: int) -> int:
    """Takes blobs out of repositories where no manifest needs them."""
    needed = exists().where(
        and_(
            manifest_blobs.c.repository_id == repository_blobs.c.repository_id,
            manifest_blobs.c.digest == repository_blobs.c.digest,
        )
    )
    victims = conn.execute(
        select(repository_blobs.c.repository_id, repository_blobs.c.digest)
        .where(repository_blobs.c.touched < before, ~needed)
        .limit(_BATCH)
    ).all()
    count = 0
    for row in victims:
        gone = conn.execute(
            repository_blobs.delete().where(
                repository_blobs.c.repository_id == row.repository_id,
                repository_blobs.c.digest == row.digest,
                repository_blobs.c.touched < before,
            )
        )
        count += gone.rowcount
    return count


def drop_blobs(conn: Connection, before: int) -> list[tuple[str, int]]:
    """Forgets blobs that no repository shows; returns their locations and sizes."""
    shown = exists().where(repository_blobs.c.digest == blobs.c.digest)
    victims = conn.execute(
        select(blobs.c.digest).where(blobs.c.touched < before, ~shown).limit(_BATCH)
    ).all()
    gone: list[tuple[str, int]] = []
    for row in victims:
        deleted = conn.execute(
            blobs.delete()
            .where(blobs.c.digest == row.digest, blobs.c.touched < before)
            .returning(blobs.c.location, blobs.c.size)
        ).first()
        if deleted is not None:
            gone.append((deleted.location, deleted.size))
    return gone


def untagged(conn: Connection, repository: int, before: int) -> list[str]:
    """Digests of manifests that nothing names: no tag, no index, no subject that is there."""
    tagged = exists().where(tags.c.manifest_id == manifests.c.id)
    listed = exists().where(
        and_(
            manifest_children.c.repository_id == manifests.c.repository_id,
            manifest_children.c.digest == manifests.c.digest,
        )
    )
    rows = conn.execute(
        select(manifests.c.digest).where(
            manifests.c.repository_id == repository,
            manifests.c.deleted.is_(None),
            manifests.c.subject.is_(None),
            manifests.c.pushed < before,
            ~tagged,
            ~listed,
        )
    )
    return [row.digest for row in rows]


async def _sweep(hub: Hub, before: int) -> int:
    """Deletes stored files that no row knows: what a crash between rename and commit left."""
    count = 0
    async for stored in hub.storage.walk():
        if stored.modified < before and not await hub.db.read(_is_known, stored.location):
            await hub.storage.delete(stored.location)
            count += 1
    return count


def _is_known(conn: Connection, location: str) -> bool:
    row = conn.execute(select(blobs.c.digest).where(blobs.c.location == location)).first()
    return row is not None
