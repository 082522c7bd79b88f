"""The data root's disk is full to the last byte: what frees room works, all else says why not."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive
from tests.waiting import until

from wherry.errors import KernelError
from wherry.runtime.bundle import LogConfig
from wherry.runtime.logdrivers.jsonfile import JsonFile
from wherry.runtime.logdrivers.record import LogRecord
from wherry.storage.statedb import StateDB

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

KEPT = ("containers", "layers", "roots", "blobs", "volumes")
FULL = "no space left on device"


@contextlib.contextmanager
def disk(tmp_path: Path, megabytes: int) -> Iterator[Path]:
    """A small file system of one's own, of which root may have every byte."""
    image, point = tmp_path / "disk", tmp_path / "mount"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)
        image.unlink()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with disk(tmp_path_factory.mktemp("full"), 96) as point:
        yield point


@pytest.fixture(scope="module")
def shared(place: Path) -> Iterator[Daemon]:
    daemon = Daemon()
    daemon.data_root = place / "data"
    with daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon
        assert "Traceback" not in daemon.log_text()


@pytest.fixture
def engine(shared: Daemon) -> Iterator[Daemon]:
    """One engine for all, with room before each test and nothing left after it."""
    yield shared
    room(shared)
    until(lambda: shared.request("GET", "/_ping")[0] == 200)
    for row in shared.json("GET", "/containers/json?all=1"):
        shared.json("DELETE", f"/containers/{row['Id']}?force=1&v=1")
    assert "No problems" in shared.wherry("system", "check").stdout


def fill(point: Path) -> None:
    """Take every free byte of a file system."""
    fd = os.open(point / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (1 << 20, 4096, 1):
        try:
            while True:
                os.write(fd, bytes(size))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    os.fsync(fd)
    os.close(fd)


def room(daemon: Daemon) -> None:
    """Give the bytes back."""
    (daemon.data_root.parent / "ballast").unlink(missing_ok=True)
    os.sync()


def free(daemon: Daemon) -> int:
    found = os.statvfs(daemon.data_root)
    return found.f_bfree * found.f_frsize


def run(daemon: Daemon, name: str, *command: str, **host: Any) -> None:
    body = {"Image": "busybox", "Cmd": list(command), "HostConfig": host}
    daemon.json("POST", f"/containers/create?name={name}", body)
    daemon.json("POST", f"/containers/{name}/start")


def state(daemon: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.json("GET", f"/containers/{name}/json")["State"]
    return found


def tree(daemon: Daemon) -> list[str]:
    """Every path of what an engine keeps, without what is in running containers."""
    return sorted(
        str(path.relative_to(daemon.data_root))
        for name in KEPT
        for path in (daemon.data_root / name).glob("*/*")
    )


def test_whatever_ends_or_goes_away_works(engine: Daemon) -> None:
    sleeper = ("sleep", "1000")
    for name in ("stopped", "killed", "forced", "paused", "self", "own"):
        run(engine, name, *sleeper, NetworkMode="none" if name == "own" else "bridge")
    run(engine, "vanishing", *sleeper, AutoRemove=True)
    run(engine, "volume", *sleeper, Binds=["kept:/data"])
    engine.json("POST", "/containers/create?name=created", {"Image": "busybox"})
    run(engine, "exited", "true")
    engine.json("POST", "/containers/exited/wait")
    fill(engine.data_root.parent)
    assert len(engine.json("GET", "/containers/json")) == 8
    assert engine.docker("exec", "own", "echo", "alive").stdout == "alive\n"
    engine.json("POST", "/containers/paused/pause")
    engine.json("POST", "/containers/stopped/stop?t=0")
    engine.json("POST", "/containers/killed/kill")
    os.kill(state(engine, "self")["Pid"], signal.SIGKILL)
    engine.json("POST", "/containers/self/wait")
    engine.json("POST", "/containers/vanishing/kill")
    until(lambda: engine.request("GET", "/containers/vanishing/json")[0] == 404)
    fill(engine.data_root.parent)
    for name in ("stopped", "killed", "self"):
        assert (state(engine, name)["Status"], state(engine, name)["ExitCode"]) == ("exited", 137)
    for name in ("forced", "paused", "volume"):
        engine.docker("rm", "-f", name)
        fill(engine.data_root.parent)
    engine.docker("rm", "exited")
    fill(engine.data_root.parent)
    pruned = engine.json("POST", "/containers/prune")["ContainersDeleted"]
    assert len(pruned) == 4
    fill(engine.data_root.parent)
    assert engine.json("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D")
    fill(engine.data_root.parent)
    engine.docker("tag", "busybox", "other:1", check=False)
    engine.docker("rm", "-f", "own")
    fill(engine.data_root.parent)
    engine.docker("system", "prune", "-af")
    assert engine.json("GET", "/images/json") == []
    room(engine)
    engine.docker("load", "-i", str(busybox_archive()))


def test_what_needs_room_says_so_and_leaves_nothing_half_made(
    engine: Daemon, tmp_path: Path
) -> None:
    run(engine, "writer", "sh", "-c", "dd if=/dev/urandom of=/file bs=64k count=16; sleep 1000")
    until(
        lambda: engine.docker("exec", "writer", "test", "-s", "/file", check=False).returncode == 0
    )
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN dd if=/dev/urandom of=/x count=512\n")
    before, images = tree(engine), engine.json("GET", "/images/json?all=1")
    engine.docker("create", "--name", "made", "busybox", "true")
    fill(engine.data_root.parent)
    while (late := engine.docker("create", "busybox", check=False)).returncode == 0:
        engine.docker("rm", late.stdout.strip())  # the store's reserve was given up for it
        fill(engine.data_root.parent)
    for words in (
        ("create", "busybox"),
        ("start", "made"),  # whose root would silently be read-only
        ("run", "-d", "--name", "late", "busybox", "sleep", "1000"),
        ("load", "-i", str(busybox_archive())),
        ("commit", "writer", "committed"),
        ("build", "-t", "built", str(tmp_path)),
        ("import", str(busybox_archive()), "imported"),
        ("cp", str(busybox_archive()), "writer:/copied"),
    ):
        fill(engine.data_root.parent)  # what the one before gave back or gave up
        failed = engine.docker(*words, check=False)
        if words[0] == "load" and failed.returncode == 0:
            continue  # all of it was there
        assert failed.returncode != 0, words
        assert FULL in failed.stderr.lower() + failed.stdout.lower(), (words, failed.stderr)
        engine.request("DELETE", "/containers/late?force=1")
    fill(engine.data_root.parent)
    engine.docker("rm", "made")
    assert tree(engine) == before
    assert engine.json("GET", "/images/json?all=1") == images
    assert state(engine, "writer")["Running"]


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_engine_opens_on_a_full_disk(engine: Daemon, end: str) -> None:
    run(engine, "keeper", "sleep", "1000")
    run(engine, "again", "sleep", "1000", RestartPolicy={"Name": "always"})
    run(engine, "late", "sleep", "1000")
    fill(engine.data_root.parent)
    getattr(engine, end)()
    fill(engine.data_root.parent)
    engine.start()
    assert state(engine, "keeper")["Running"]
    assert engine.docker("exec", "keeper", "echo", "alive").stdout == "alive\n"
    fill(engine.data_root.parent)
    engine.docker("rm", "-f", "late")
    fill(engine.data_root.parent)
    getattr(engine, end)()
    engine.start()
    engine.docker("stop", "-t", "0", "keeper")
    room(engine)
    engine.docker("run", "--rm", "busybox", "true")
    assert state(engine, "again")["Running"]


def test_a_container_that_is_to_run_always_does_so_when_there_is_room(engine: Daemon) -> None:
    run(engine, "always", "sleep", "1000", RestartPolicy={"Name": "always"})
    fill(engine.data_root.parent)
    for restarts in (1, 3):
        if pid := state(engine, "always")["Pid"]:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGKILL)
        until(partial(_restarted, engine, restarts))
        fill(engine.data_root.parent)
    room(engine)
    until(lambda: state(engine, "always")["Status"] == "running")
    assert engine.docker("exec", "always", "echo", "alive").stdout == "alive\n"


def _restarted(daemon: Daemon, times: int) -> bool:
    """Whether the container has been restarted so often, in vain or not."""
    view = daemon.json("GET", "/containers/always/json")
    return view["RestartCount"] >= times or view["State"]["Running"]


def test_no_inodes_left(engine: Daemon) -> None:
    run(engine, "keeper", "sleep", "1000")
    run(engine, "forced", "sleep", "1000")
    folder = engine.data_root.parent / "many"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(1 << 20):
            (folder / str(number)).touch()
    assert os.statvfs(folder).f_ffree == 0
    try:
        failed = engine.docker("run", "--rm", "busybox", "true", check=False)
        assert FULL in failed.stderr
        engine.docker("stop", "-t", "0", "keeper")
        engine.docker("rm", "-f", "forced")
        engine.kill()
        engine.start()
        engine.docker("rm", "keeper")
    finally:
        shutil.rmtree(folder)
    engine.docker("run", "--rm", "busybox", "true")


def test_a_disk_that_turns_read_only(tmp_path: Path) -> None:
    """What ends, ends; what cannot be written says so; the engine lives, and opens no more."""
    none = {"NetworkMode": "none"}
    with disk(tmp_path, 48) as point:
        engine = Daemon()
        engine.data_root = point / "data"
        with engine:
            engine.docker("load", "-i", str(busybox_archive()))
            for name in ("stopped", "killed", "self"):
                run(engine, name, "sleep", "1000", **none)
            run(engine, "always", "sleep", "1000", RestartPolicy={"Name": "always"}, **none)
            subprocess.run(["mount", "-o", "remount,abort", str(point)], check=True)
            for name in ("stopped", "self", "killed"):
                assert engine.docker("exec", name, "echo", "alive").stdout == "alive\n"
            engine.docker("info")
            engine.docker("stop", "-t", "0", "stopped")
            engine.docker("kill", "killed")
            os.kill(state(engine, "self")["Pid"], signal.SIGKILL)
            assert engine.docker("wait", "self").stdout == "137\n"
            for words in (
                ("rm", "stopped"),
                ("create", "busybox"),
                ("rmi", "-f", "busybox"),
                ("volume", "create"),
                ("network", "create", "net"),
                ("commit", "killed"),
            ):
                failed = engine.docker(*words, check=False)
                assert failed.returncode == 1, words
                assert "Read-only file system" in failed.stderr or "EIO" in failed.stderr, words
            engine.docker("stop", "-t", "0", "always")
            assert not engine.json("GET", "/containers/json")
            assert engine.stop() == 0
            assert "Traceback" not in engine.log_text()
            done = subprocess.run(engine.command, capture_output=True, timeout=60)
            assert done.returncode == 1
            said = done.stderr.decode()
            assert "Read-only file system" in said
            assert "Traceback" not in said
            subprocess.run(["umount", str(point)], check=True)
            subprocess.run(["e2fsck", "-fy", str(tmp_path / "disk")], stdout=subprocess.DEVNULL)
            subprocess.run(["mount", "-o", "loop", str(tmp_path / "disk"), str(point)], check=True)
            engine.start()
            engine.docker("run", "--rm", "busybox", "true")


def test_a_log_does_not_take_the_last_bytes(engine: Daemon) -> None:
    run(engine, "chatter", "yes", "a line that is long enough to fill a disk within a second or so")
    log = engine.data_root / "containers" / engine.json("GET", "/containers/chatter/json")["Id"]
    written = next(log.glob("*-json.log"))

    def tail() -> bytes:
        with written.open("rb") as file:
            file.seek(max(0, written.stat().st_size - 4096))
            return file.read()

    until(lambda: b"the disk is almost full" in tail())
    assert free(engine) > 2 << 20
    engine.docker("run", "--rm", "busybox", "true")
    size = written.stat().st_size
    until(lambda: engine.docker("exec", "chatter", "true").returncode == 0)
    assert written.stat().st_size == size
    engine.docker("rm", "-f", "chatter")
    assert free(engine) > 16 << 20


def test_a_store_can_be_opened_and_changed_without_any_room(tmp_path: Path) -> None:
    """Also where blocks are so small that SQLite does not take all that its index maps."""
    with disk(tmp_path, 24) as point:
        path = point / "state.db"
        db = StateDB(str(path))
        db.migrate("room", ["CREATE TABLE t (x TEXT)"])
        assert (point / "state.db.reserve").stat().st_size > 200_000
        fill(point)
        for _ in range(300):  # more than fits into what the log has; less than a day of an engine
            with db.transaction() as change:
                change.execute("INSERT INTO t VALUES (?)", ("x" * 1000,))
        fill(point)
        with db.transaction() as change:
            change.execute("DELETE FROM t WHERE rowid > 1")
        db.close()
        (point / "state.db.reserve").unlink(missing_ok=True)
        fill(point)
        again = StateDB(str(path))
        assert again.repair is None
        assert len(again.query("SELECT * FROM t")) == 1
        with pytest.raises(KernelError, match=FULL), again.transaction() as change:
            change.execute("INSERT INTO t VALUES (?)", ("x" * 10_000_000,))
        assert len(again.query("SELECT * FROM t")) == 1
        (point / "ballast").unlink()
        with again.transaction() as change:
            change.execute("INSERT INTO t VALUES ('room')")
        again.copy()
        again.renew_reserve()
        assert (point / "state.db.reserve").exists()
        again.close()
        assert sqlite3.connect(f"{path}.copy").execute("SELECT COUNT(*) FROM t").fetchone() == (2,)


def test_a_log_says_what_it_left_out(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(tmp_path)], check=True)
    try:
        log = JsonFile(LogConfig(path=str(tmp_path / "log")))
        line = LogRecord("stdout", b"x" * 1000, 0)
        for _ in range(8000):
            log.write([line])
        found = os.statvfs(tmp_path)
        assert found.f_bfree * found.f_frsize > 300_000
        lines = (tmp_path / "log").read_bytes().splitlines()
        assert b"what follows is not logged" in lines[-1]
        os.truncate(tmp_path / "log", 0)
        for _ in range(100):
            log.write([line])
        log.close()
        after = (tmp_path / "log").read_bytes().splitlines()
        written = len(lines) - 1 + len(after) - 1
        assert f"{8100 - written} lines were not logged".encode() in after[0]
        assert len(after) > 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
