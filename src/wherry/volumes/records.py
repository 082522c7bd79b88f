"""The volume room's tables: volumes, who refers to them, who has them mounted.

References are rows, so a crash can neither lose nor double one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

from wherry.storage.statedb import StateDB

_MIGRATIONS = (
    """
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        driver TEXT NOT NULL,
        options TEXT NOT NULL,
        labels TEXT NOT NULL,
        created TEXT NOT NULL
    );
    CREATE TABLE volume_references (
        volume TEXT NOT NULL REFERENCES volumes (name),
        container TEXT NOT NULL,
        PRIMARY KEY (volume, container)
    );
    CREATE INDEX volume_references_by_container ON volume_references (container);
    CREATE TABLE volume_mounts (
        volume TEXT NOT NULL REFERENCES volumes (name),
        container TEXT NOT NULL,
        PRIMARY KEY (volume, container)
    );
    CREATE INDEX volume_mounts_by_container ON volume_mounts (container)
    """,
)

ANONYMOUS = "com.docker.volume.anonymous"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as it is kept in the store; ``options`` and ``labels`` may be None as given."""

    name: str
    driver: str
    created: str
    options: Mapping[str, str] | None = field(default=None)
    labels: Mapping[str, str] | None = field(default=None)

    @property
    def is_anonymous(self) -> bool:
        return ANONYMOUS in (self.labels or {})


class Records:
    """Typed access to the tables."""

    def __init__(self, db: StateDB) -> None:
        self.db = db
        db.migrate("volumes", _MIGRATIONS)

    def volumes(self) -> list[Volume]:
        """All volumes, oldest first."""
        return [_volume(row) for row in self.db.query("SELECT * FROM volumes ORDER BY rowid")]

    def volume(self, name: str) -> Volume | None:
        row = self.db.one("SELECT * FROM volumes WHERE name = ?", (name,))
        return _volume(row) if row else None

    def save(self, volume: Volume) -> None:
        with self.db.transaction() as db:
            db.execute(
                "INSERT INTO volumes VALUES (?, ?, ?, ?, ?)",
                (
                    volume.name,
                    volume.driver,
                    json.dumps(volume.options),
                    json.dumps(volume.labels),
                    volume.created,
                ),
            )

    def delete(self, name: str) -> None:
        with self.db.transaction() as db:
            db.execute("DELETE FROM volume_mounts WHERE volume = ?", (name,))
            db.execute("DELETE FROM volumes WHERE name = ?", (name,))

    def references(self, name: str) -> list[str]:
        """Containers that refer to a volume, running or not."""
        return self._column(
            "SELECT container FROM volume_references WHERE volume = ? ORDER BY rowid", name
        )

    def reference_counts(self) -> dict[str, int]:
        """How many containers refer to each volume; those without any are left out."""
        rows = self.db.query("SELECT volume, count(*) FROM volume_references GROUP BY volume")
        return {row[0]: row[1] for row in rows}

    def referenced_by(self, container: str) -> list[str]:
        """Volumes that a container refers to."""
        return self._column(
            "SELECT volume FROM volume_references WHERE container = ? ORDER BY rowid", container
        )

    def referring(self) -> list[str]:
        """All containers that refer to volumes or have them mounted."""
        return self._column(
            "SELECT container FROM volume_references UNION SELECT container FROM volume_mounts"
        )

    def refer(self, name: str, container: str) -> None:
        with self.db.transaction() as db:
            db.execute("INSERT OR IGNORE INTO volume_references VALUES (?, ?)", (name, container))

    def unrefer(self, container: str) -> None:
        with self.db.transaction() as db:
            db.execute("DELETE FROM volume_references WHERE container = ?", (container,))

    def users(self, name: str) -> list[str]:
        """Containers that have a volume mounted now."""
        return self._column("SELECT container FROM volume_mounts WHERE volume = ?", name)

    def used_by(self, container: str) -> list[str]:
        """Volumes that a container has mounted now."""
        return self._column("SELECT volume FROM volume_mounts WHERE container = ?", container)

    def use(self, name: str, container: str) -> None:
        with self.db.transaction(volatile=True) as db:
            db.execute("INSERT OR IGNORE INTO volume_mounts VALUES (?, ?)", (name, container))

    def unuse(self, name: str, container: str) -> None:
        with self.db.transaction(volatile=True) as db:
            db.execute(
                "DELETE FROM volume_mounts WHERE volume = ? AND container = ?", (name, container)
            )

    def _column(self, sql: str, *parameters: str) -> list[str]:
        return [row[0] for row in self.db.query(sql, parameters)]


def _volume(row: sqlite3.Row) -> Volume:
    return Volume(
        name=row["name"],
        driver=row["driver"],
        created=row["created"],
        options=json.loads(row["options"]),
        labels=json.loads(row["labels"]),
    )
