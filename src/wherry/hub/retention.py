"""Retention: which tags and manifests a repository's rules let go."""

from __future__ import annotations

import fnmatch
import time
from typing import Any

from sqlalchemy import Connection, select

from wherry.hub import collector, events
from wherry.hub.distribution.errors import RegistryError
from wherry.hub.hub import Hub
from wherry.hub.records import manifests, repositories
from wherry.hub.registry.immutable import check_mutable
from wherry.hub.schema import repositories as repository_table
from wherry.hub.schema import tags

_DAY = 86_400
_ACTOR = "retention"


def expired_tags(found: list[tuple[str, int]], rules: dict[str, Any], now: int) -> list[str]:
    """Of tags (name, unix time of last change) those that no rule keeps.

    ``keep_last`` keeps the newest, ``keep_days`` the young, ``keep_tags`` the names that match
    a pattern. Without ``keep_last`` and ``keep_days`` everything is kept.
    """
    last, days = rules.get("keep_last"), rules.get("keep_days")
    if last is None and days is None:
        return []
    patterns = str(rules.get("keep_tags", "")).split()
    newest_first = sorted(found, key=lambda tag: (-tag[1], tag[0]))
    expired = []
    for position, (name, updated) in enumerate(newest_first):
        kept = (last is not None and position < last) or (
            days is not None and updated >= now - days * _DAY
        )
        if not kept and not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            expired.append(name)
    return expired


async def apply_all(hub: Hub, *, now: float | None = None) -> int:
    """Applies the rules of every repository that has some; returns how much went to the trash."""
    moment = int(time.time() if now is None else now)
    ids = await hub.db.read(_with_work, moment)
    return sum([await hub.db.write(apply, repository, moment) for repository in ids])


def _with_work(conn: Connection, now: int) -> list[int]:
    """Repositories whose rules let something go: looking takes no lock, applying does."""
    rows = conn.execute(
        select(repository_table.c.id, repository_table.c.retention).where(
            repository_table.c.retention.is_not(None)
        )
    ).all()
    return [
        row.id
        for row in rows
        if row.retention
        and (
            expired_tags(_tags(conn, row.id), row.retention, now)
            or _untagged(conn, row.id, row.retention, now)
        )
    ]


def _tags(conn: Connection, repository: int) -> list[tuple[str, int]]:
    rows = conn.execute(
        select(tags.c.name, tags.c.updated).where(tags.c.repository_id == repository)
    )
    return [(row.name, row.updated) for row in rows]


def _untagged(conn: Connection, repository: int, rules: dict[str, Any], now: int) -> list[str]:
    days = rules.get("untagged_days")
    return [] if days is None else collector.untagged(conn, repository, now - days * _DAY)


def apply(conn: Connection, repository_id: int, now: int) -> int:
    """Moves what the rules of one repository let go to the trash."""
    found = repositories.by_ids(conn, [repository_id])
    if not found or not found[0].retention:
        return 0
    repository, rules = found[0], found[0].retention
    count = 0
    for name in expired_tags(_tags(conn, repository_id), rules, now):
        try:
            check_mutable(conn, repository, name, None)
        except RegistryError:
            continue
        manifests.remove_tag(conn, repository_id, name, _ACTOR)
        events.deleted(conn, repository, _ACTOR, "", name)
        count += 1
    for digest in _untagged(conn, repository_id, rules, now):
        manifests.remove(conn, repository_id, digest, _ACTOR)
        count += 1
    return count
