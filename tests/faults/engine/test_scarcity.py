"""The engine runs out of processes, threads or descriptors, or loses its cgroups: it says so,
goes on with what it has, and is well again as soon as there is room."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.daemon import Daemon
from tests.faults.walker import create
from tests.images import busybox_archive

from wherry.instance import Instance
from wherry.linux.cgroups import Cgroup, discover

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

TRIES = 6


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        daemon.docker("run", "-d", "--name", "keeper", "busybox", "sleep", "1000")
        yield daemon


def family(daemon: Daemon) -> list[psutil.Process]:
    """The daemon and its launcher."""
    process = psutil.Process(daemon.process.pid if daemon.process else 0)
    return [process, *process.children()]


def move(folders: list[str], daemon: Daemon) -> None:
    """Put the daemon and its helpers into the cgroup with these directories."""
    for folder in folders:
        for process in family(daemon):
            Path(folder, "cgroup.procs").write_text(str(process.pid))


def failures(daemon: Daemon) -> list[str]:
    """Try to run containers; the messages of those that could not be."""
    found = []
    for _ in range(TRIES):
        for path, body in (
            ("/containers/create?name=wanted", {"Image": "busybox", "Cmd": ["true"]}),
            ("/containers/wanted/start", None),
        ):
            status, answer = daemon.request("POST", path, body)
            if status >= 400:
                assert status >= 500, answer
                found.append(answer.decode())
                break
        status, answer = daemon.request("DELETE", "/containers/wanted?force=1")
        if status >= 500:  # it stays as it is, and can be removed later
            found.append(answer.decode())
            break
    return found


def assert_well(daemon: Daemon) -> None:
    """It runs containers, knows of no other than the keeper, and that one lives."""
    deadline = time.monotonic() + 60
    while daemon.docker("run", "--rm", "busybox", "true", check=False).returncode != 0:
        assert time.monotonic() < deadline, daemon.log_text()[-3000:]
    daemon.request("DELETE", "/containers/wanted?force=1")
    names = [row["Names"] for row in daemon.json("GET", "/containers/json?all=1")]
    assert names == [["/keeper"]]
    assert daemon.docker("exec", "keeper", "echo", "alive").stdout == "alive\n"
    instance = Instance.of_data_root(str(daemon.data_root), "")
    for point in discover().hierarchies():
        parent = Path(point + instance.cgroup_parent)
        if parent.is_dir():
            assert len([one for one in parent.iterdir() if one.is_dir()]) == 1
    assert len(os.listdir(daemon.exec_root / "shims")) == 1


def test_no_processes_and_threads_left(engine: Daemon) -> None:
    group = Cgroup(f"/wherry-scarcity-{os.getpid()}")
    group.create()
    try:
        move(group.directories(), engine)
        limit = sum(process.num_threads() for process in family(engine))
        group.apply({"pids": {"limit": limit}})
        failed = failures(engine)
        assert failed
        assert all("Resource temporarily unavailable" in one for one in failed), failed
        assert engine.request("GET", "/_ping")[0] == 200
        group.apply({"pids": {"limit": -1}})
        assert_well(engine)
    finally:
        group.apply({"pids": {"limit": -1}})
        move(discover().hierarchies(), engine)
        deadline = time.monotonic() + 60
        while group.pids():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        group.remove()


@pytest.mark.parametrize("who", ["daemon", "launcher"])
def test_no_descriptors_left(engine: Daemon, who: str) -> None:
    process = family(engine)[("daemon", "launcher").index(who)]
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir(f"/proc/{process.pid}/fd"))
    # Room for the client's own connection, not for what the work needs.
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (highest + 3, before[1]))
    try:
        failed = failures(engine)
        assert failed
        assert all("Too many open files" in one for one in failed), failed
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
    assert_well(engine)
    assert process.is_running()


def test_cgroups_that_were_removed(engine: Daemon) -> None:
    container = create(engine, ["sleep", "1000"])
    engine.json("POST", f"/containers/{container}/start")
    instance = Instance.of_data_root(str(engine.data_root), "")
    group = Cgroup(f"{instance.cgroup_parent}/{container}")
    pids = group.pids()
    for directory in group.directories():
        root = directory.removesuffix(group.path)
        for pid in Path(directory, "cgroup.procs").read_text().split():
            Path(root, "cgroup.procs").write_text(pid)
    group.remove()
    try:
        for _ in range(2):
            for method, action, body in (
                ("GET", "stats?stream=0", None),
                ("GET", "top", None),
                ("POST", "pause", None),
                ("POST", "update", {"CpuShares": 512}),
            ):
                status, answer = engine.request(method, f"/containers/{container}/{action}", body)
                assert status in (200, 500), (action, answer)
                assert status == 200 or str(container) in answer.decode(), answer
            state = engine.json("GET", f"/containers/{container}/json")["State"]
            assert (state["Status"], state["Pid"]) == ("running", pids[0])
            engine.restart()
        engine.json("POST", f"/containers/{container}/stop?t=0")
        state = engine.json("GET", f"/containers/{container}/json")["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    finally:
        engine.json("DELETE", f"/containers/{container}?force=1")
    assert_well(engine)
