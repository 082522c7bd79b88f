"""Blobs, and which repository shows them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from wherry.hub.database import upsert
from wherry.hub.schema import blobs, repositories, repository_blobs


@dataclass(frozen=True)
class Blob:
    """One stored blob."""

    digest: str
    size: int
    location: str


def find(conn: Connection, repository: int, digest: str) -> tuple[Blob, int] | None:
    """The blob, when the repository has it, and when it was last touched there."""
    row = conn.execute(
        select(blobs.c.digest, blobs.c.size, blobs.c.location, repository_blobs.c.touched)
        .join(repository_blobs, repository_blobs.c.digest == blobs.c.digest)
        .where(repository_blobs.c.repository_id == repository, blobs.c.digest == digest)
    ).first()
    return (Blob(row.digest, row.size, row.location), row.touched) if row else None


def has(conn: Connection, repository: int, digest: str) -> bool:
    """Whether the repository has the blob."""
    return find(conn, repository, digest) is not None


def touch(conn: Connection, repository: int, digests: list[str]) -> list[str]:
    """Keeps blobs of a repository from the collector; returns those it does not have."""
    missing = []
    now = int(time.time())
    for digest in digests:
        found = conn.execute(
            update(repository_blobs)
            .where(
                repository_blobs.c.repository_id == repository,
                repository_blobs.c.digest == digest,
            )
            .values(touched=now)
        )
        if found.rowcount == 0:
            missing.append(digest)
    return missing


def store(conn: Connection, repository: int, digest: str, size: int, location: str) -> str:
    """Records an uploaded blob and shows it in the repository.

    Returns the location to keep: an older one when the same content was there already.
    """
    now = int(time.time())
    conn.execute(
        upsert(conn, blobs)
        .values(digest=digest, size=size, location=location, touched=now)
        .on_conflict_do_update(index_elements=["digest"], set_={"touched": now})
    )
    kept: str = conn.execute(select(blobs.c.location).where(blobs.c.digest == digest)).scalar_one()
    link(conn, repository, digest)
    return kept


def link(conn: Connection, repository: int, digest: str) -> bool:
    """Shows an existing blob in the repository; False when the blob is gone."""
    now = int(time.time())
    found = conn.execute(update(blobs).where(blobs.c.digest == digest).values(touched=now))
    if found.rowcount == 0:
        return False
    conn.execute(
        upsert(conn, repository_blobs)
        .values(repository_id=repository, digest=digest, touched=now)
        .on_conflict_do_update(index_elements=["repository_id", "digest"], set_={"touched": now})
    )
    return True


def unlink(conn: Connection, repository: int, digest: str) -> bool:
    """Takes the blob out of the repository; False when it was not there."""
    gone = conn.execute(
        repository_blobs.delete().where(
            repository_blobs.c.repository_id == repository, repository_blobs.c.digest == digest
        )
    )
    return gone.rowcount > 0


def holders(conn: Connection, digest: str, limit: int = 20) -> list[str]:
    """Names of some repositories that have the blob."""
    rows = conn.execute(
        select(repositories.c.name)
        .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
        .where(repository_blobs.c.digest == digest)
        .order_by(repositories.c.private, repositories.c.id)
        .limit(limit)
    )
    return [row.name for row in rows]


def size(conn: Connection, digest: str) -> int | None:
    """Bytes of a stored blob; None when it is gone."""
    return conn.execute(select(blobs.c.size).where(blobs.c.digest == digest)).scalar()
