"""Every way in which a disk spoils a state store, and what is left afterwards."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.storage import salvage
from wherry.storage.statedb import StateDB

SCRIPT = """
CREATE TABLE things (id TEXT PRIMARY KEY, data TEXT NOT NULL);
CREATE TABLE uses (thing TEXT NOT NULL REFERENCES things (id), user TEXT NOT NULL,
                   PRIMARY KEY (thing, user)) WITHOUT ROWID;
CREATE INDEX uses_by_user ON uses (user)
"""
ROWS = 400
PAGE = 4096


def filled(path: Path, rows: int = ROWS) -> StateDB:
    db = StateDB(str(path))
    db.migrate("room", [SCRIPT])
    with db.transaction() as change:
        for number in range(rows):
            change.execute("INSERT INTO things VALUES (?, ?)", (f"{number:04}", "x" * 200))
            change.execute("INSERT INTO uses VALUES (?, 'someone')", (f"{number:04}",))
    return db


def identities(db: StateDB) -> set[str]:
    return {row["id"] for row in db.query("SELECT id FROM things")}


def spoil(path: Path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(random.Random(1).randbytes(length))


def last_page(path: Path) -> None:
    spoil(path, path.stat().st_size - PAGE, PAGE)


def first_page(path: Path) -> None:
    spoil(path, 0, PAGE)


def middle(path: Path) -> None:
    spoil(path, path.stat().st_size // 2 // PAGE * PAGE, 3 * PAGE)


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def nothing(path: Path) -> None:
    os.truncate(path, 0)


def gone(path: Path) -> None:
    path.unlink()


def no_table(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE uses")
    db.close()


def text_that_is_none(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE things SET data = CAST(x'ff00fe' AS TEXT) WHERE id = '0007'")
    db.close()


DAMAGES = [last_page, first_page, middle, half, nothing, gone, no_table, text_that_is_none]


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_a_copy_nothing_is_lost(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "state.db"
    db = filled(path)
    db.close()
    db = StateDB(str(path))
    assert db.repair is None
    db.copy()
    db.close()
    damage(path)
    db = StateDB(str(path))
    assert db.repair is not None
    db.migrate("room", [SCRIPT])
    assert identities(db) == {f"{number:04}" for number in range(ROWS)}
    assert len(db.query("SELECT * FROM uses")) == ROWS
    assert db.query("PRAGMA integrity_check")[0][0] == "ok"
    assert db.query("SELECT name FROM sqlite_master WHERE name = 'uses_by_user'")
    db.close()
    assert StateDB(str(path)).repair is None


def test_rows_younger_than_the_copy_are_read_from_the_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    db = filled(path)
    db.copy()
    with db.transaction() as change:
        change.execute("DELETE FROM uses WHERE thing < '0010'")
        change.execute("DELETE FROM things WHERE id < '0010'")
        change.execute("INSERT INTO things VALUES ('young', 'y')")
        change.execute("INSERT INTO uses VALUES ('young', 'someone')")
    db.close()
    middle(path)
    db = StateDB(str(path))
    assert db.repair is not None
    assert "from the copy" in str(db.repair)
    assert str(tmp_path / "state.db.damaged-1") in str(db.repair)
    assert identities(db) >= {"young"} | {f"{number:04}" for number in range(10, ROWS)}
    assert db.query("PRAGMA foreign_key_check") == []


@pytest.mark.parametrize("damage", [last_page, middle, half])
def test_without_a_copy_the_readable_rows_remain(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "state.db"
    filled(path).close()
    damage(path)
    db = StateDB(str(path))
    assert db.repair is not None
    assert db.query("PRAGMA foreign_key_check") == []
    assert db.query("PRAGMA integrity_check")[0][0] == "ok"


def test_a_torn_wal_loses_its_last_transactions_whole(tmp_path: Path) -> None:
    path, wal = tmp_path / "state.db", tmp_path / "state.db-wal"
    db = filled(path)
    for number in range(5):
        with db.transaction() as change:
            change.execute("INSERT INTO things VALUES (?, '')", (f"late{number}",))
            change.execute("INSERT INTO uses VALUES (?, 'someone')", (f"late{number}",))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    (crashed / path.name).write_bytes(path.read_bytes())
    (crashed / wal.name).write_bytes(wal.read_bytes())
    spoil(crashed / wal.name, wal.stat().st_size - 6000, 6000)
    again = StateDB(str(crashed / path.name))
    kept = identities(again)
    late = sorted(kept - {f"{number:04}" for number in range(ROWS)})
    assert len(kept) >= ROWS
    assert late == [f"late{number}" for number in range(len(late))] != []
    assert len(late) < 5
    assert again.query("PRAGMA foreign_key_check") == []


def test_a_damaged_copy_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    db = filled(path)
    db.copy()
    db.close()
    first_page(tmp_path / "state.db.copy")
    db = StateDB(str(path))
    assert db.repair is None
    db.copy()
    db.close()
    assert salvage.examine(str(tmp_path / "state.db.copy")) == ""
