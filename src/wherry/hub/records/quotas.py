"""How much an owner may store: blobs of all repositories, and what is arriving.

An upload is granted bytes before it stores them. Grants of one owner are given one after the other
(the owner's row is locked where writers run side by side), so that together they never exceed the
quota. Sizes are bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, update

from wherry.errors import InvalidParameter
from wherry.hub.schema import blobs, owners, repositories, repository_blobs, uploads

_SIZE = re.compile(r"(\d{1,15})\s*([kmgt]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_quota(text: str) -> int | None:
    """Bytes of ``500 MB`` or ``20G`` (powers of 1000); 0 of ``none``, None of ``default``.

    Raises InvalidParameter.
    """
    word = text.strip().lower()
    if word in ("none", "default"):
        return 0 if word == "none" else None
    match = _SIZE.fullmatch(word)
    size = int(match[1]) * 1000 ** _POWERS[match[2]] if match else 0
    if not 0 < size < 2**63:
        raise InvalidParameter(f"invalid quota {text[:40]!r}: want a size, none or default")
    return size


@dataclass(frozen=True)
class Usage:
    """One owner's storage; ``quota`` is their own limit, None where the default holds."""

    owner: str
    quota: int | None
    stored: int
    arriving: int


def limit(conn: Connection, owner: int, default: int) -> int:
    """The owner's limit; 0 means none."""
    own = conn.execute(select(owners.c.quota).where(owners.c.id == owner)).scalar()
    return default if own is None else own


def set_limit(conn: Connection, owner: str, size: int | None) -> bool:
    """Sets an owner's limit: 0 for none, None for the default; False when there is no such."""
    found = conn.execute(update(owners).where(owners.c.name == owner).values(quota=size))
    return found.rowcount > 0


def stored(conn: Connection, owner: int) -> int:
    """Bytes of the distinct blobs in all repositories of an owner."""
    shown = (
        select(repository_blobs.c.digest)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(repositories.c.owner_id == owner)
        .distinct()
        .subquery()
    )
    total = select(func.coalesce(func.sum(blobs.c.size), 0)).join(
        shown, shown.c.digest == blobs.c.digest
    )
    return int(conn.execute(total).scalar_one())


def arriving(conn: Connection, owner: int, but: str = "") -> int:
    """Bytes granted to the owner's uploads under way, the upload ``but`` aside."""
    total = (
        select(func.coalesce(func.sum(uploads.c.size), 0))
        .join(repositories, repositories.c.id == uploads.c.repository_id)
        .where(repositories.c.owner_id == owner, uploads.c.id != but)
    )
    return int(conn.execute(total).scalar_one())


def room(conn: Connection, owner: int, default: int, but: str = "") -> int | None:
    """Bytes that the owner may still store beside all uploads but ``but``; None for no limit.

    In a writing transaction the answer stays true until its end.
    """
    if not limit(conn, owner, default):
        return None
    locked = select(owners.c.id).where(owners.c.id == owner).with_for_update(key_share=True)
    conn.execute(locked)
    most = limit(conn, owner, default)
    return max(most - stored(conn, owner) - arriving(conn, owner, but), 0)


def grant(conn: Connection, upload: str, owner: int, size: int, default: int) -> bool:
    """Lets an upload grow to ``size`` bytes in all; False when the quota does not allow it."""
    free = room(conn, owner, default, upload)
    if free is not None and size > free:
        return False
    conn.execute(update(uploads).where(uploads.c.id == upload).values(size=size))
    return True


def has(conn: Connection, owner: int, digest: str) -> bool:
    """Whether a repository of the owner shows the blob, so that it counts already."""
    row = conn.execute(
        select(repository_blobs.c.digest)
        .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
        .where(repositories.c.owner_id == owner, repository_blobs.c.digest == digest)
        .limit(1)
    ).first()
    return row is not None


def usages(conn: Connection, count: int = 100) -> list[Usage]:
    """Owners with limits of their own, by name."""
    rows = conn.execute(
        select(owners.c.id, owners.c.name, owners.c.quota)
        .where(owners.c.quota.is_not(None))
        .order_by(owners.c.name)
        .limit(count)
    ).all()
    return [_usage(conn, row.id, row.name, row.quota) for row in rows]


def usage(conn: Connection, owner: str) -> Usage | None:
    """One owner's storage; None when there is no such owner."""
    row = conn.execute(
        select(owners.c.id, owners.c.name, owners.c.quota).where(owners.c.name == owner)
    ).first()
    return _usage(conn, row.id, row.name, row.quota) if row else None


def _usage(conn: Connection, owner: int, name: str, quota: int | None) -> Usage:
    return Usage(name, quota, stored(conn, owner), arriving(conn, owner))
