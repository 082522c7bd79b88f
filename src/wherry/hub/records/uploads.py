"""Uploads under way; any process can go on with one that another began."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from wherry.hub.schema import uploads


@dataclass(frozen=True)
class Upload:
    """One upload; ``state`` belongs to the storage."""

    id: str
    repository_id: int
    actor: str
    state: dict[str, Any]


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
        select(uploads.c.id, uploads.c.repository_id, uploads.c.actor, uploads.c.state).where(
            uploads.c.id == upload, uploads.c.repository_id == repository
        )
    ).first()
    return Upload(**row._mapping) if row else None


def change(conn: Connection, upload: str, state: Any) -> None:
    """Records the storage's new state."""
    conn.execute(
        update(uploads).where(uploads.c.id == upload).values(state=state, touched=int(time.time()))
    )


def remove(conn: Connection, upload: str) -> bool:
    """Forgets an upload; False when it was gone already."""
    return conn.execute(uploads.delete().where(uploads.c.id == upload)).rowcount > 0


def expired(conn: Connection, before: int) -> list[Upload]:
    """Uploads that nothing was added to since ``before``."""
    rows = conn.execute(
        select(uploads.c.id, uploads.c.repository_id, uploads.c.actor, uploads.c.state)
        .where(uploads.c.touched < before)
        .limit(500)
    )
    return [Upload(**row._mapping) for row in rows]
