"""Uploads under way; any process can go on with one that another began."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from wherry.hub.schema import repositories, uploads


@dataclass(frozen=True)
class Upload:
    """One upload; ``state`` belongs to the storage."""

    id: str
    repository_id: int
    actor: str
    state: dict[str, Any]
    touched: int


_COLUMNS = (
    uploads.c.id,
    uploads.c.repository_id,
    uploads.c.actor,
    uploads.c.state,
    uploads.c.touched,
)


def _record(row: Any) -> Upload:
    return Upload(**row._mapping)


def add(conn: Connection, upload: str, repository: int, actor: str, state: Any) -> None:
    """Records a new upload."""
    conn.execute(
        uploads.insert().values(
            id=upload, repository_id=repository, actor=actor, state=state, touched=int(time.time())
        )
    )


def find(conn: Connection, upload: str, repository: int) -> Upload | None:
    """The upload, when it belongs to the repository."""
    row = conn.execute(
        select(*_COLUMNS).where(uploads.c.id == upload, uploads.c.repository_id == repository)
    ).first()
    return _record(row) if row else None


def exists(conn: Connection, upload: str) -> bool:
    """Whether the upload is under way."""
    return conn.execute(select(uploads.c.id).where(uploads.c.id == upload)).first() is not None


def change(conn: Connection, upload: str, state: Any) -> None:
    """Records the storage's new state."""
    conn.execute(
        update(uploads).where(uploads.c.id == upload).values(state=state, touched=int(time.time()))
    )


def touch(conn: Connection, upload: str) -> None:
    """Keeps an upload that is still arriving from the collector."""
    conn.execute(update(uploads).where(uploads.c.id == upload).values(touched=int(time.time())))


def resize(conn: Connection, upload: str, size: int) -> None:
    """Records how many bytes the upload takes of its owner's quota."""
    conn.execute(update(uploads).where(uploads.c.id == upload).values(size=size))


def remove(conn: Connection, upload: str) -> bool:
    """Forgets an upload; False when it was gone already."""
    return conn.execute(uploads.delete().where(uploads.c.id == upload)).rowcount > 0


def remove_all(conn: Connection, ids: list[str]) -> None:
    """Forgets some uploads."""
    conn.execute(uploads.delete().where(uploads.c.id.in_(ids)))


def expired(conn: Connection, before: int) -> list[Upload]:
    """Some of the uploads that nothing was added to since ``before``."""
    rows = conn.execute(select(*_COLUMNS).where(uploads.c.touched < before).limit(500))
    return [_record(row) for row in rows]


def count_of_owner(conn: Connection, owner: int) -> int:
    """How many uploads into repositories of the owner are under way."""
    query = (
        select(func.count())
        .select_from(uploads)
        .join(repositories, repositories.c.id == uploads.c.repository_id)
        .where(repositories.c.owner_id == owner)
    )
    return conn.execute(query).scalar_one()


def idle_of_owner(conn: Connection, owner: int, before: int) -> list[Upload]:
    """The owner's uploads that nothing was added to since ``before``."""
    rows = conn.execute(
        select(*_COLUMNS)
        .join(repositories, repositories.c.id == uploads.c.repository_id)
        .where(repositories.c.owner_id == owner, uploads.c.touched < before)
    )
    return [_record(row) for row in rows]
