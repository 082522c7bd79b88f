"""The state store: one SQLite file in WAL mode, shared by the rooms above.

Each room owns its tables and brings its own migrations; one state change is one transaction.
A commit survives the death of the process at any moment (https://sqlite.org/wal.html). A store
that the disk has damaged is repaired when it is opened (`salvage`).
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wherry.errors import Conflict, KernelError, Unavailable
from wherry.storage import salvage
from wherry.storage.reserve import Reserve

log = logging.getLogger(__name__)


class StateDB:
    """A connection that threads may share; transactions are serialised by a lock."""

    def __init__(self, path: str) -> None:
        """Open or create the store at ``path`` (``:memory:`` for tests).

        ``repair`` afterwards tells what was damaged, None when nothing was.
        """
        self._path = path
        self.repair: salvage.Repair | None = None
        self._reserve = Reserve(path) if path != ":memory:" else None
        self._lock = threading.RLock()
        self._copying = threading.Lock()
        self._depth = 0
        roomy = self._reserve is None or self._reserve.before_opening()
        with self._telling("open"):
            if path != ":memory:" and (damage := salvage.examine(path)):
                self.repair = salvage.restore(path, damage)
                log.error("%s", self.repair)
            self._alone = not roomy
            self._connection = self._connect()
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (room TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
        if self._reserve is not None:
            self._reserve.after_opening(indexed=not self._alone)
        self.renew_reserve()

    def _connect(self) -> sqlite3.Connection:
        """Open the store. Where there is no room for an index that others could read by, too, this
        connection is ``_alone``: it has the index in memory (https://sqlite.org/wal.html#noshm).
        """
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            if self._alone:
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("SELECT * FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            connection.close()
            if self._alone or salvage.disk_trouble(error) != errno.ENOSPC:
                raise
            self._alone = True
            return self._connect()
        return connection

    def migrate(self, room: str, migrations: Sequence[str]) -> None:
        """Bring the tables of ``room`` up to date.

        ``migrations[n]`` is the SQL script that leads from version n to n+1; landed scripts are
        never edited. Raises Conflict when the file was written by a newer Wherry.
        """
        row = self.one("SELECT version FROM schema_version WHERE room = ?", (room,))
        version = row["version"] if row else 0
        if version > len(migrations):
            raise Conflict(
                f"open state store: the {room} tables have version {version}, this Wherry knows"
                f" up to {len(migrations)}; use the newer Wherry that wrote them"
            )
        for number, script in enumerate(migrations[version:], start=version + 1):
            with self.transaction() as db:
                for statement in script.split(";"):
                    if statement.strip():
                        db.execute(statement)
                db.execute("INSERT OR REPLACE INTO schema_version VALUES (?, ?)", (room, number))

    @contextmanager
    def transaction(self, *, volatile: bool = False) -> Iterator[sqlite3.Connection]:
        """One atomic change; nested use joins the outer transaction.

        A ``volatile`` change survives the death of the process but may be lost, whole, in a power
        cut: right for what describes running processes, and no disk is waited for.

        Raises KernelError when the disk is full, read-only or broken; nothing is changed then.
        """
        with self._lock:
            if self._depth:
                yield self._connection
                return
            if volatile:
                with self._waiting_for_no_disk(), self.transaction() as db:
                    yield db
                return
            if self._reserve is not None:
                self._reserve.secure()
            with self._telling("write"):
                self._connection.execute("BEGIN IMMEDIATE")
                self._depth += 1
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    # A full disk ends the transaction in some cases and leaves it open in others.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                finally:
                    self._depth -= 1

    @contextmanager
    def _telling(self, attempted: str) -> Iterator[None]:
        """Say of what the disk refuses what was attempted on which file, and why."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
                raise Unavailable(
                    f"{attempted} {self._path}: another program has locked it"
                ) from error
            number = salvage.disk_trouble(error)
            if number is None:
                raise
            raise KernelError(attempted, self._path, number) from error

    @contextmanager
    def _waiting_for_no_disk(self) -> Iterator[None]:
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a SELECT, or None."""
        with self._lock:
            row: sqlite3.Row | None = self._connection.execute(sql, parameters).fetchone()
            return row

    @property
    def changes(self) -> int:
        """How many rows this connection has changed: grows with every change."""
        return self._connection.total_changes

    def renew_reserve(self) -> None:
        """Keep room again for changes on a full disk, when there is plenty; see `Reserve`."""
        if self._reserve is not None:
            self._reserve.renew()

    def copy(self) -> None:
        """Bring the copy up to date from which a damaged store is repaired; raises OSError."""
        with self._copying:
            if not self._alone:
                salvage.make_copy(self._path)
                return
            with self._lock:
                salvage.make_copy(self._path, self._connection)

    def close(self) -> None:
        """Close the connection; the file is complete at any time before, too."""
        with self._lock:
            self._connection.close()
            if self._reserve is not None:
                self._reserve.close()
