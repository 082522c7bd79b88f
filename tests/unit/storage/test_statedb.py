import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wherry.errors import Conflict
from wherry.storage.statedb import StateDB


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    db.migrate("room", ["CREATE TABLE t (x INTEGER)"])
    with pytest.raises(RuntimeError), db.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        with db.transaction() as inner:
            inner.execute("INSERT INTO t VALUES (2)")
        raise RuntimeError
    assert db.query("SELECT * FROM t") == []
    with db.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (3)")
    db.close()
    again = StateDB(str(tmp_path / "state.db"))
    again.migrate("room", ["CREATE TABLE t (x INTEGER)", "ALTER TABLE t ADD COLUMN y TEXT"])
    assert [tuple(row) for row in again.query("SELECT * FROM t")] == [(3, None)]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    db.migrate("room", ["CREATE TABLE t (x)", "CREATE TABLE u (x)"])
    with pytest.raises(Conflict, match="version 2"):
        db.migrate("room", ["CREATE TABLE t (x)"])


def test_a_volatile_transaction_is_atomic_and_seen_by_others(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    db.migrate("room", ["CREATE TABLE t (x)"])
    with db.transaction(volatile=True) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(RuntimeError), db.transaction(volatile=True) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        raise RuntimeError
    with closing(sqlite3.connect(tmp_path / "state.db")) as other:
        assert other.execute("SELECT x FROM t").fetchall() == [(1,)]
    # What comes after waits for the disk again.
    assert db.query("PRAGMA synchronous")[0][0] == 2
    with db.transaction() as connection, db.transaction(volatile=True):
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
