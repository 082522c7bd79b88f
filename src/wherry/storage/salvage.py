"""A damaged state store is made whole again from what can be read of it and from its copy.

Decided first: `examine` says what is wrong. Then `restore` reads every table as far as it goes,
from both ends, fills up from the copy what a damaged page took, puts the result in the place of
the damaged files, which stay beside it, and says how many rows came from where. It may be killed
at any moment: until the last step the damaged files are where they were. SQLite itself already
drops transactions of a torn WAL
(https://sqlite.org/fileformat2.html#walformat).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

COPY = ".copy"
_ASIDE = ".damaged"
_COMPANIONS = ("", "-wal")  # the shared memory (-shm) is only an index of the WAL


@dataclass(frozen=True, slots=True)
class Table:
    """A table by its definition; ``key`` are the columns that tell its rows apart."""

    name: str
    sql: str
    columns: tuple[str, ...]
    key: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of a table that could be read; ``whole`` when nothing stopped the reading."""

    rows: tuple[tuple[object, ...], ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Repair:
    """What was wrong, where the damaged files lie, and what became of each damaged table."""

    reason: str
    aside: str
    tables: tuple[str, ...]

    def __str__(self) -> str:
        told = "; ".join(self.tables) or "every row of every table could be read"
        return (
            f"the state store was damaged ({self.reason}) and has been repaired: {told}."
            f" The damaged files are kept as {self.aside}"
        )


def make_copy(path: str, connection: sqlite3.Connection | None = None) -> None:
    """Write the store at ``path`` into its copy, as it is at this moment; raises OSError.

    ``connection`` is one that has the store for itself alone.
    """
    fresh = f"{path}{COPY}.new"
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    try:
        if connection is not None:
            connection.execute("VACUUM INTO ?", (fresh,))
        else:
            with closing(sqlite3.connect(path)) as db:
                db.execute("VACUUM INTO ?", (fresh,))
    except sqlite3.Error as error:
        raise OSError(f"copy {path}: {error}") from error
    _sync(fresh)
    os.rename(fresh, path + COPY)


def examine(path: str) -> str:
    """What is wrong with the store at ``path``, "" when nothing is.

    A store that is empty or lacks tables is damaged when there is a copy that has them. Raises
    sqlite3.Error when it cannot be looked at now: the disk is full, another program has locked it.
    """
    expected = _table_names(path + COPY)
    if not os.path.exists(path):
        return "the file is missing" if expected else ""
    try:
        with _opened(path) as db:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                return str(found).splitlines()[-1]
            tables = _tables(db)
            for table in tables:
                # Finds text that is none, which the check of the structure passes over.
                for _ in db.execute(f'SELECT * FROM "{table.name}"'):
                    pass
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return str(error)
    missing = expected - {table.name for table in tables}
    return f"missing: {', '.join(sorted(missing))}" if missing else ""


_BY_THE_DISK = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_IOERR: errno.EIO,
}
_OF_THE_MOMENT = frozenset({
    *_BY_THE_DISK, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
})  # fmt: skip
"""Failures that say nothing of what a store holds (https://sqlite.org/rescode.html)…"""
_OF_THE_CONTENT = frozenset({
    sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS,
    sqlite3.SQLITE_IOERR_DATA,
})  # fmt: skip
"""… and those of them that do."""


def disk_trouble(error: sqlite3.Error) -> int | None:
    """The errno of a failure that comes from a full, read-only or broken disk."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return errno.ENOSPC
    return _BY_THE_DISK.get(code & 0xFF)


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF not in _OF_THE_MOMENT or code in _OF_THE_CONTENT


def is_lost(path: str) -> bool:
    """Whether neither the store at ``path`` nor its copy tells anything."""
    for source in (path, path + COPY):
        try:
            with _opened(source) as db:
                if _tables(db):
                    return False
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                return False
    return True


def restore(path: str, reason: str) -> Repair:
    """Put the damaged store aside and a repaired one in its place."""
    tables: dict[str, Table] = {}
    statements: list[str] = []
    for source in (path, path + COPY):
        found, others = _schema(source)
        if len(found) > len(tables):
            tables, statements = found, others
    fresh = f"{path}.new"
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    told = []
    with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
        db.execute("BEGIN")
        for table in tables.values():
            db.execute(table.sql)
            saved, kept = _read(path, table), Reading((), True)
            rows: dict[tuple[object, ...], tuple[object, ...]] = {}
            if not saved.whole:
                kept = _read(path + COPY, table)
                rows = {_key(table, row): row for row in kept.rows}
            rows |= {_key(table, row): row for row in saved.rows}
            marks = ", ".join("?" * len(table.columns))
            columns = ", ".join(f'"{column}"' for column in table.columns)
            db.executemany(
                f'INSERT OR IGNORE INTO "{table.name}" ({columns}) VALUES ({marks})',
                rows.values(),
            )
            if not saved.whole:
                told.append(
                    f"{table.name}: {len(saved.rows)} rows read, {len(rows) - len(saved.rows)}"
                    " from the copy"
                )
        for statement in statements:
            db.execute(statement)
        _drop_dangling(db)
        db.execute("COMMIT")
    _sync(fresh)
    aside = _put_aside(path)
    os.rename(fresh, path)
    _sync(os.path.dirname(path) or ".")
    return Repair(reason, aside, tuple(told))


def _key(table: Table, row: Sequence[object]) -> tuple[object, ...]:
    return tuple(row[number] for number in table.key)


def _put_aside(path: str) -> str:
    number = 1
    while os.path.exists(f"{path}{_ASIDE}-{number}"):
        number += 1
    aside = f"{path}{_ASIDE}-{number}"
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            os.link(path + companion, aside + companion)
    for companion in ("-wal", "-shm"):  # which would be taken for the repaired store's
        with suppress(FileNotFoundError):
            os.unlink(path + companion)
    return aside


@contextmanager
def _opened(path: str) -> Iterator[sqlite3.Connection]:
    if not os.path.exists(path):
        raise sqlite3.OperationalError("the file is missing")
    with closing(_alone(path) or sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def _alone(path: str) -> sqlite3.Connection | None:
    """A connection that needs no index in a file, and so no room; None where others have one."""
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    try:
        db.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
            db.close()
            return None
    return db


def _tables(db: sqlite3.Connection) -> list[Table]:
    found = []
    rows = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    for name, sql in rows.fetchall():
        described = db.execute(f'PRAGMA table_info("{name}")').fetchall()
        columns = tuple(column[1] for column in described)
        primary = sorted((column[5], column[0]) for column in described if column[5])
        key = tuple(number for _, number in primary) or tuple(range(len(columns)))
        found.append(Table(name, sql, columns, key))
    return found


def _table_names(path: str) -> set[str]:
    try:
        with _opened(path) as db:
            return {table.name for table in _tables(db)}
    except sqlite3.DatabaseError:
        return set()


def _schema(path: str) -> tuple[dict[str, Table], list[str]]:
    """Tables and the statements that make their indexes; empty when unreadable."""
    try:
        with _opened(path) as db:
            tables = {table.name: table for table in _tables(db)}
            others = db.execute(
                "SELECT sql FROM sqlite_master WHERE type != 'table' AND sql IS NOT NULL"
            )
            return tables, [row[0] for row in others]
    except sqlite3.DatabaseError:
        return {}, []


def _read(path: str, table: Table) -> Reading:
    """The rows of a table from its first on, and where that stops, from its last back."""
    names = ", ".join(f'"{column}"' for column in table.columns)
    rows: dict[tuple[object, ...], tuple[object, ...]] = {}
    for order in ("", " ORDER BY rowid DESC"):
        try:
            with _opened(path) as db:
                for row in db.execute(f'SELECT {names} FROM "{table.name}" NOT INDEXED{order}'):
                    rows.setdefault(_key(table, row), row)
        except sqlite3.DatabaseError:
            continue
        if not order:
            return Reading(tuple(rows.values()), True)
    return Reading(tuple(rows.values()), False)


def _drop_dangling(db: sqlite3.Connection) -> None:
    """Rows that refer to what could not be saved."""
    while dangling := db.execute("PRAGMA foreign_key_check").fetchall():
        for table in {row[0] for row in dangling}:
            parents = db.execute(f'PRAGMA foreign_key_list("{table}")').fetchall()
            for parent in parents:
                column, target = parent[3], parent[4] or parent[3]
                db.execute(
                    f'DELETE FROM "{table}" WHERE "{column}" IS NOT NULL AND "{column}" NOT IN'
                    f' (SELECT "{target}" FROM "{parent[2]}")'
                )


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
