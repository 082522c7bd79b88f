"""A daemon that was killed answers at once when it is back, and takes its containers over behind.

One shim is stopped by a signal, so that its container cannot be taken over for as long as a test
wants: whoever asks for that container waits, and nobody else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

from wherry.errors import KernelError
from wherry.linux import mounts

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]


@pytest.fixture
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


def run(daemon: Daemon, name: str, *options: str, command: str = "sleep 100000") -> str:
    return daemon.docker(
        "run", "-d", "--name", name, *options, "busybox", "sh", "-c", command
    ).stdout.strip()


def view(daemon: Daemon, name: str) -> Any:
    return daemon.json("GET", f"/containers/{name}/json")


def shim_of(daemon: Daemon, name: str) -> int:
    """The pid of a container's shim: the parent of its init."""
    pid = view(daemon, name)["State"]["Pid"]
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Asked(threading.Thread):
    """A request whose answer may take its time."""

    def __init__(self, daemon: Daemon, method: str, path: str) -> None:
        super().__init__(daemon=True)
        self._ask = daemon, method, path
        self.status = 0
        self.start()

    def run(self) -> None:
        daemon, method, path = self._ask
        with contextlib.suppress(ConnectionError):
            self.status, _ = daemon.request(method, path)


def states(daemon: Daemon) -> dict[str, str]:
    rows = daemon.json("GET", "/containers/json?all=1")
    return {row["Names"][0].removeprefix("/"): row["State"] for row in rows}


def test_everybody_but_one_is_served(engine: Daemon) -> None:
    for number in range(6):
        run(engine, f"c{number}")
    run(engine, "stuck", "-p", "127.0.0.1::80")
    address = view(engine, "stuck")["NetworkSettings"]["IPAddress"]
    [place] = view(engine, "stuck")["NetworkSettings"]["Ports"]["80/tcp"]
    shim = shim_of(engine, "stuck")
    engine.kill()
    with stopped(shim):
        engine.start()
        # Lists show the state last known, with addresses and ports.
        assert states(engine) == {
            **{f"c{number}": "running" for number in range(6)},
            "stuck": "running",
        }
        [row] = engine.json("GET", '/containers/json?filters={"name":["stuck"]}')
        assert row["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == address
        assert row["Ports"][0]["PublicPort"] == int(place["HostPort"])
        waiting = [
            Asked(engine, "GET", "/containers/stuck/json"),
            Asked(engine, "POST", "/containers/stuck/stop?t=0"),
        ]
        for number in range(6):
            assert view(engine, f"c{number}")["State"]["Running"]
            assert engine.docker("exec", f"c{number}", "echo", "hi").stdout == "hi\n"
        engine.docker("stop", "-t", "0", "c0")
        # A new container gets nothing that the one still holds which nobody could ask.
        run(engine, "new", "-p", "127.0.0.1::80")
        assert view(engine, "new")["NetworkSettings"]["IPAddress"] != address
        taken = engine.docker(
            *(
                "run",
                "-d",
                "--name",
                "greedy",
                "-p",
                f"127.0.0.1:{place['HostPort']}:80",
                "busybox",
                "true",
            ),
            check=False,
        )
        assert taken.returncode != 0
        assert "port is already allocated" in taken.stderr
        assert [one.status for one in waiting] == [0, 0]
        assert states(engine)["stuck"] == "running"
    for one in waiting:
        one.join(60)
    assert sorted(one.status for one in waiting) == [200, 204]
    assert view(engine, "stuck")["State"]["ExitCode"] == 137


def test_who_ends_the_daemon_meanwhile_waits_for_nobody(engine: Daemon) -> None:
    run(engine, "stuck", command="trap 'exit 7' TERM; while :; do sleep 0.1; done")
    run(engine, "other")
    pids = {name: view(engine, name)["State"]["Pid"] for name in ("stuck", "other")}
    shim = shim_of(engine, "stuck")
    engine.kill()
    with stopped(shim):
        engine.start()
        waiting = Asked(engine, "GET", "/containers/stuck/json")
        assert view(engine, "other")["State"]["Pid"] == pids["other"]
        assert engine.stop() == 0
        waiting.join(60)
        assert not waiting.is_alive()
    engine.start()
    assert {name: view(engine, name)["State"]["Pid"] for name in pids} == pids
    assert "Traceback" not in engine.log_text()
    engine.docker("stop", "stuck")
    assert view(engine, "stuck")["State"]["ExitCode"] == 7


def test_what_ended_meanwhile_follows_its_policy(engine: Daemon) -> None:
    run(engine, "ends", command="sleep 0.2; exit 3")
    engine.docker("wait", "ends")
    run(engine, "again", "--restart", "always")
    run(engine, "goes", "--rm")
    run(engine, "joins", "--restart", "always", "--network", "container:again")
    pids = {name: view(engine, name)["State"]["Pid"] for name in ("again", "goes", "joins")}
    engine.kill()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    engine.start()
    # Each of these waits until what it asks for has been looked at.
    assert states(engine).get("goes") != "running"
    assert view(engine, "ends")["State"]["ExitCode"] == 3
    removed, _ = engine.request("POST", "/containers/goes/wait?condition=removed")
    assert removed in (200, 404)
    while not all(
        view(engine, name)["State"]["Status"] == "running" for name in ("again", "joins")
    ):
        time.sleep(0.05)
    assert view(engine, "again")["State"]["Pid"] != pids["again"]
    assert "goes" not in states(engine)


def test_many_whose_shims_are_silent_keep_no_policy_from_its_work(engine: Daemon) -> None:
    """More than are taken over side by side."""
    silent = [f"silent{number}" for number in range(17)]
    for name in silent:
        run(engine, name, "--network", "none")
    run(engine, "again", "--restart", "always")
    pid = view(engine, "again")["State"]["Pid"]
    shims = [shim_of(engine, name) for name in silent]
    engine.kill()
    os.kill(pid, signal.SIGKILL)
    with contextlib.ExitStack() as stack:
        for shim in shims:
            stack.enter_context(stopped(shim))
        engine.start()
        while (state := view(engine, "again")["State"])["Status"] != "running":
            time.sleep(0.05)
        assert state["Pid"] != pid
        run(engine, "new", "--network", "none")
        # Its own end, seen when nobody looks at policies any more, is followed as any end.
        os.kill(shims[0], signal.SIGKILL)
        assert not view(engine, silent[0])["State"]["Running"]
    for name in silent[1:]:
        assert view(engine, name)["State"]["Running"]


def test_an_exec_of_before_is_known(engine: Daemon) -> None:
    identity = run(engine, "some")
    exec_id = engine.json("POST", f"/containers/{identity}/exec", {"Cmd": ["sleep", "100000"]})[
        "Id"
    ]
    engine.json("POST", f"/exec/{exec_id}/start", {"Detach": True})
    engine.kill()
    engine.start()
    assert engine.json("GET", f"/exec/{exec_id}/json")["Running"]
    assert engine.request("GET", f"/exec/{'0' * 64}/json")[0] == 404


def test_one_that_cannot_be_removed_keeps_nobody_from_the_start(engine: Daemon) -> None:
    for name in ("bad", "good"):
        run(engine, name, command="true")
        engine.docker("wait", name)
    bad = view(engine, "bad")["Id"]
    [root] = (engine.data_root / "roots").glob(f"*/{bad}")
    engine.stop()
    with contextlib.closing(sqlite3.connect(engine.data_root / "state.db")) as db, db:
        db.execute(
            "UPDATE containers SET state = json_set(state, '$.status', 'removing') WHERE id = ?",
            (bad,),
        )
    mounts.mount("tmpfs", str(root / "upper"), "tmpfs", 0)  # what is busy cannot be removed
    try:
        engine.start()
        assert view(engine, "bad")["State"]["Dead"]
        assert view(engine, "good")["State"]["Status"] == "exited"
        assert run(engine, "new")
        assert engine.docker("system", "df").stdout
        refused = engine.docker("rm", "-f", "bad", check=False)
        assert refused.returncode != 0
    finally:
        for place in (root, root.parent / f".{bad}"):
            with contextlib.suppress(KernelError):
                mounts.unmount(str(place / "upper"), mounts.MNT_DETACH)
    engine.docker("rm", "-f", "bad")
    assert "bad" not in states(engine)
