"""The disk spoils the state store of a killed daemon: it comes back, and says what is lost."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

PAGE = 4096


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        daemon.docker("network", "create", "net")
        keeper = ("--name", "keeper", "--network", "net", "-v", "data:/data", "-p", "80")
        daemon.docker("run", "-d", *keeper, "busybox", "sleep", "1000")
        daemon.docker(
            "run", "--name", "ended", "busybox", "sh", "-c", "echo said; exit 3", check=False
        )
        daemon.docker("tag", "busybox", "other/name:1")
        daemon.restart()  # which brings the copy up to date
        yield daemon


def facts(daemon: Daemon) -> dict[str, Any]:
    """What must be the same before and after."""
    keeper = daemon.json("GET", "/containers/keeper/json")
    return {
        "pid": keeper["State"]["Pid"],
        "ports": keeper["NetworkSettings"]["Ports"],
        "mounts": keeper["Mounts"],
        "exit": daemon.json("GET", "/containers/ended/json")["State"]["ExitCode"],
        "containers": len(daemon.json("GET", "/containers/json?all=1")),
        "tags": sorted(daemon.json("GET", "/images/busybox/json")["RepoTags"]),
        "networks": sorted(one["Name"] for one in daemon.json("GET", "/networks")),
        "volumes": [one["Name"] for one in daemon.json("GET", "/volumes")["Volumes"]],
    }


def store(daemon: Daemon) -> Path:
    return daemon.data_root / "state.db"


def settle(path: Path) -> None:
    """Bring what the write-ahead log holds into the file, so that the damage meets it."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def last_page(path: Path) -> None:
    settle(path)
    with path.open("r+b") as file:
        file.seek(-PAGE, os.SEEK_END)
        file.write(random.Random(7).randbytes(PAGE))


def empty(path: Path) -> None:
    settle(path)
    os.truncate(path, 0)


def table_gone(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE containers")
    db.close()


@pytest.mark.parametrize("damage", [last_page, empty, table_gone])
def test_a_damaged_store_is_repaired_and_nothing_stops(
    engine: Daemon, damage: Callable[[Path], None]
) -> None:
    before = facts(engine)
    engine.kill()
    damage(store(engine))
    engine.start()
    assert facts(engine) == before
    assert engine.docker("exec", "keeper", "echo", "alive").stdout == "alive\n"
    assert engine.docker("logs", "ended").stdout == "said\n"
    warnings = engine.json("GET", "/info")["Warnings"]
    assert [one for one in warnings if "state store was damaged" in one]
    engine.docker("run", "--rm", "busybox", "true")


def test_a_torn_log_of_writes_costs_the_last_change_only(engine: Daemon) -> None:
    engine.restart()
    assert not [one for one in engine.json("GET", "/info")["Warnings"] if "damaged" in one]
    before = facts(engine)
    engine.docker("create", "--name", "late", "busybox", "true")
    engine.kill()
    wal = store(engine).with_name("state.db-wal")
    size = wal.stat().st_size
    with wal.open("r+b") as file:
        file.seek(size - PAGE // 2)
        file.write(bytes(PAGE // 2))
    engine.start()
    engine.request("DELETE", "/containers/late?force=1")
    assert facts(engine) == before
    assert engine.docker("exec", "keeper", "echo", "alive").stdout == "alive\n"


def test_what_cannot_be_restored_is_named_and_left_alone(engine: Daemon) -> None:
    """A container younger than the copy, whose record lay on the page that is gone."""
    engine.docker("run", "-d", "--name", "young", "busybox", "sleep", "1000")
    view = engine.json("GET", "/containers/young/json")
    engine.kill()
    with sqlite3.connect(store(engine)) as db:
        db.execute("DELETE FROM containers WHERE id = ?", (view["Id"],))
    db.close()
    last_page(store(engine))
    try:
        for _ in range(2):
            engine.start()
            os.kill(view["State"]["Pid"], 0)
            assert f"the record of container {view['Id']} is lost" in engine.log_text()
            assert engine.request("GET", "/containers/young/json")[0] == 404
            engine.docker("run", "--rm", "--name", "other", "busybox", "true")
            engine.kill()
    finally:
        for entry in (engine.data_root / "containers" / view["Id"]).iterdir():
            if entry.is_file():
                entry.unlink()
        (engine.data_root / "containers" / view["Id"]).rmdir()
        engine.start()
    engine.docker("run", "--rm", "busybox", "true")  # starts when what nobody has is given back
    with pytest.raises(ProcessLookupError):
        os.kill(view["State"]["Pid"], 0)
