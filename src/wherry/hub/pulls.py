"""Pull counts, gathered in memory and written every few seconds.

A row that every pull updates would make all pulls of a popular image wait for each other.
A process that dies loses the counts of its last seconds, nothing else.
"""

from __future__ import annotations

import time
from collections import Counter

from sqlalchemy import Connection, update

from wherry.hub.database import Database, upsert
from wherry.hub.schema import pulls, repositories

_DAY = 86_400


class PullCounter:
    """Counts pulls by repository and day."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counts: Counter[tuple[int, int]] = Counter()

    def count(self, repository: int) -> None:
        """Notes one pull."""
        self._counts[repository, int(time.time()) // _DAY] += 1

    async def flush(self) -> None:
        """Writes what was counted since the last call."""
        if self._counts:
            counts, self._counts = self._counts, Counter()
            await self._db.write(add_counts, dict(counts))


def add_counts(conn: Connection, counts: dict[tuple[int, int], int]) -> None:
    """Adds counts by (repository, day since 1970); deleted repositories are passed over."""
    for (repository, day), count in sorted(counts.items()):
        found = conn.execute(
            update(repositories)
            .where(repositories.c.id == repository)
            .values(pulls=repositories.c.pulls + count)
        )
        if found.rowcount:
            conn.execute(
                upsert(conn, pulls)
                .values(repository_id=repository, day=day, count=count)
                .on_conflict_do_update(
                    index_elements=["repository_id", "day"],
                    set_={"count": pulls.c.count + count},
                )
            )
