"""The table of containers: record and state, each change one transaction."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from sqlite3 import Connection

from wherry.engine.containers.healthstate import Health
from wherry.engine.containers.record import Record
from wherry.engine.containers.state import State
from wherry.storage.statedb import StateDB

MIGRATIONS = (
    """CREATE TABLE containers (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL, state TEXT NOT NULL
    )""",
    "ALTER TABLE containers ADD COLUMN health TEXT",
)


class ContainerStore:
    """Reads and writes containers."""

    def __init__(self, db: StateDB) -> None:
        db.migrate("containers", MIGRATIONS)
        self._db = db

    def transaction(self) -> AbstractContextManager[Connection]:
        """Several changes, of other rooms too, that hold together or not at all."""
        return self._db.transaction()

    def all(self) -> list[tuple[Record, State, Health | None]]:
        """Every container that is kept."""
        return [
            (
                Record.from_json(json.loads(row["record"])),
                State.from_json(json.loads(row["state"])),
                Health.from_json(json.loads(row["health"])) if row["health"] else None,
            )
            for row in self._db.query("SELECT record, state, health FROM containers")
        ]

    def insert(self, record: Record, state: State) -> None:
        """Keep a new container."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO containers (id, name, record, state) VALUES (?, ?, ?, ?)",
                (record.id, record.name, json.dumps(record.to_json()), json.dumps(state.to_json())),
            )

    def save(self, record: Record) -> None:
        """Keep a changed record."""
        with self._db.transaction() as db:
            db.execute(
                "UPDATE containers SET name = ?, record = ? WHERE id = ?",
                (record.name, json.dumps(record.to_json()), record.id),
            )

    def save_state(self, container_id: str, state: State, health: Health | None) -> None:
        """Keep a changed state with what health checks have found."""
        found = json.dumps(health.to_json()) if health is not None else None
        with self._db.transaction() as db:
            db.execute(
                "UPDATE containers SET state = ?, health = ? WHERE id = ?",
                (json.dumps(state.to_json()), found, container_id),
            )

    def delete(self, container_id: str) -> None:
        """Forget a container."""
        with self._db.transaction() as db:
            db.execute("DELETE FROM containers WHERE id = ?", (container_id,))
