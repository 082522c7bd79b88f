"""The state store is gone, and the rest of the data root is not: nothing is ever swept away."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

FOLDERS = ("containers", "layers", "roots", "blobs", "volumes")


@pytest.fixture
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        command = ("sh", "-c", "echo kept > /file; echo kept > /data/file")
        daemon.docker("run", "--name", "ended", "-v", "data:/data", "busybox", *command)
        yield daemon


def tree(root: Path, names: tuple[str, ...] = FOLDERS) -> list[str]:
    """Every path of what an engine keeps."""
    return sorted(
        str(path.relative_to(root)) for name in names for path in root.glob(f"{name}/**/*")
    )


def take_store(daemon: Daemon, aside: Path) -> None:
    """Move the state store away, with its copy."""
    aside.mkdir(exist_ok=True)
    for path in daemon.data_root.glob("state.db*"):
        shutil.move(path, aside / path.name)


def refusal(daemon: Daemon) -> str:
    """Start a daemon that does not come up: what it printed."""
    done = subprocess.run(daemon.command, capture_output=True, timeout=60)
    assert done.returncode == 1
    return done.stderr.decode()


def garbage(daemon: Daemon) -> None:
    (daemon.data_root / "state.db").write_bytes(b"\xa5" * 40_000)


def nothing(daemon: Daemon) -> None:
    (daemon.data_root / "state.db").touch()


@pytest.mark.parametrize("left", [None, nothing, garbage])
def test_an_engine_without_memory_refuses_to_begin_anew(
    engine: Daemon, tmp_path: Path, left: Callable[[Daemon], None] | None
) -> None:
    engine.stop()
    before = tree(engine.data_root)
    take_store(engine, tmp_path / "store")
    if left is not None:
        left(engine)
    for _ in range(2):
        said = refusal(engine)
        assert "state.db is missing or unreadable" in said
        assert "--reset" in said
        assert str(engine.data_root) in said
        assert "Traceback" not in said
        assert tree(engine.data_root) == before
    shutil.copytree(tmp_path / "store", engine.data_root, dirs_exist_ok=True)
    engine.start()
    assert engine.docker("diff", "ended").stdout == "A /data\nA /file\n"
    assert tree(engine.data_root) == before


def test_what_is_reset_is_set_aside(engine: Daemon, tmp_path: Path) -> None:
    engine.stop()
    kept = ("containers", "layers", "roots", "blobs")
    before = tree(engine.data_root, kept)
    take_store(engine, tmp_path / "store")
    engine.flags = (*engine.flags, "--reset")
    engine.start()
    assert engine.json("GET", "/containers/json?all=1") == []
    assert engine.json("GET", "/images/json") == []
    aside = engine.data_root / "set-aside-1"
    assert tree(aside, kept) == before
    assert str(aside) in engine.log_text()
    engine.docker("load", "-i", str(busybox_archive()))
    found = engine.docker("run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/file")
    assert found.stdout == "kept\n"
    engine.restart()  # the flag does nothing where the store is there
    assert len(engine.json("GET", "/images/json")) == 1
    assert not (engine.data_root / "set-aside-2").exists()


def test_a_copy_alone_is_enough(engine: Daemon, tmp_path: Path) -> None:
    engine.stop()
    before = tree(engine.data_root)
    take_store(engine, tmp_path / "store")
    shutil.copy(tmp_path / "store" / "state.db.copy", engine.data_root)
    engine.start()
    assert engine.docker("diff", "ended").stdout == "A /data\nA /file\n"
    assert tree(engine.data_root) == before


def test_a_start_that_takes_long_can_be_ended(engine: Daemon) -> None:
    """Somebody has locked the store, so that its examination waits."""
    engine.stop()
    with sqlite3.connect(engine.data_root / "state.db", isolation_level=None) as holder:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        holder.execute("CREATE TABLE held (x)")
        with subprocess.Popen(engine.command, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            while not _opens(process.pid, "state.db"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            said = process.stderr.read().decode()
        assert process.returncode == 0, said
        assert "before the start was complete" in said
        assert not (engine.folder / "pid").exists()
        holder.execute("ROLLBACK")
    holder.close()
    engine.start()
    assert engine.docker("diff", "ended").stdout == "A /data\nA /file\n"


def _opens(pid: int, name: str) -> bool:
    """Whether a process has a file of this name open."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry).endswith(f"/{name}"):
                return True
        except OSError:
            continue
    return False
