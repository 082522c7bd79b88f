"""Many clients at once: nothing fails, nothing leaks, memory stays flat."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest
from tests.daemon import Daemon
from tests.faults.walker import SLEEPER, Walker, create
from tests.images import busybox_archive

from wherry.instance import Instance
from wherry.linux import cgroups

CLIENTS = 8
CONTAINERS = 200
RANDOM_SECONDS = float(os.environ.get("WHERRY_SOAK_SECONDS", "20"))

pytestmark = [pytest.mark.root, pytest.mark.timeout(300 + RANDOM_SECONDS)]


def links_of(daemon: Daemon) -> set[str]:
    """The network links that carry the daemon's tag, its bridge left out."""
    instance = Instance.of_data_root(str(daemon.data_root), "/var/lib/wherry")
    names = {path.name for path in Path("/sys/class/net").iterdir() if instance.tag in path.name}
    return names - {instance.default_bridge}


def container_cgroups(daemon: Daemon) -> list[str]:
    """The cgroups of containers that the daemon has."""
    instance = Instance.of_data_root(str(daemon.data_root), "/var/lib/wherry")
    folders = cgroups.Cgroup(instance.cgroup_parent).directories()
    return [
        str(path)
        for folder in folders
        if Path(folder).is_dir()
        for path in Path(folder).iterdir()
        if path.is_dir() and len(path.name) == 64
    ]


def assert_empty(daemon: Daemon) -> None:
    """No container is known, and the kernel holds nothing of any."""
    assert daemon.json("GET", "/containers/json?all=1") == []
    deadline = time.monotonic() + 10
    while links_of(daemon) or container_cgroups(daemon):
        assert time.monotonic() < deadline, (links_of(daemon), container_cgroups(daemon))
        time.sleep(0.1)
    assert list((daemon.data_root / "containers").iterdir()) == []
    assert list((daemon.exec_root / "shims").iterdir()) == []
    mounted = Path("/proc/self/mountinfo").read_text()
    assert str(daemon.data_root) not in mounted


def run_and_remove(daemon: Daemon, number: int) -> None:
    container = create(daemon, ["sh", "-c", f"echo out{number}; exit {number % 7}"])
    daemon.json("POST", f"/containers/{container}/start")
    assert daemon.json("POST", f"/containers/{container}/wait")["StatusCode"] == number % 7
    status, logs = daemon.request("GET", f"/containers/{container}/logs?stdout=1")
    assert status == 200
    assert f"out{number}\n".encode() in logs
    daemon.json("DELETE", f"/containers/{container}")


def test_two_hundred_containers_of_eight_clients() -> None:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        run_and_remove(daemon, 0)
        process = psutil.Process(daemon.process.pid if daemon.process else 0)
        before = process.memory_info().rss
        files = process.num_fds()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda number: run_and_remove(daemon, number), range(CONTAINERS)))
        assert_empty(daemon)
        assert process.memory_info().rss - before < 20e6
        assert process.num_fds() <= files + 8


def counts(daemon: Daemon) -> dict[str, int]:
    """What a leak would make grow: of the daemon and its launcher, and files it keeps."""
    process = psutil.Process(daemon.process.pid if daemon.process else 0)
    family = [process, *process.children()]
    return {
        "descriptors": sum(one.num_fds() for one in family),
        "threads": sum(one.num_threads() for one in family),
        "memory": sum(one.memory_info().rss for one in family) >> 20,
        "files": sum(len(files) for _, _, files in os.walk(daemon.folder)),
        "mounts": Path("/proc/self/mountinfo").read_text().count(str(daemon.folder)),
    }


def grown_too_much(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """What has grown beyond what caches and idle threads explain."""
    allowed = {"descriptors": 10, "threads": 40, "memory": 40, "files": 30, "mounts": 0}
    return {
        name: (before[name], after[name])
        for name in allowed
        if after[name] > before[name] + allowed[name]
    }


def test_random_operations_keep_records_and_kernel_in_step() -> None:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        warm = Walker(daemon, CLIENTS)
        warm.walk(time.monotonic() + 2)
        before = counts(daemon)
        walkers = [Walker(daemon, seed) for seed in range(CLIENTS)]
        until = time.monotonic() + RANDOM_SECONDS
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(walker.walk, until) for walker in walkers]:
                done.result()
        assert sum(walker.steps for walker in walkers) > 50
        assert_empty(daemon)
        deadline = time.monotonic() + 20
        while grown := grown_too_much(before, counts(daemon)):
            assert time.monotonic() < deadline, grown
            time.sleep(0.2)


def test_random_operations_while_the_daemon_is_killed() -> None:
    """Containers of before the crash are as they were said to be; nothing is left at the end."""
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        keepers = [create(daemon, SLEEPER) for _ in range(5)]
        for keeper in keepers:
            daemon.json("POST", f"/containers/{keeper}/start")
        pids = {k: daemon.json("GET", f"/containers/{k}/json")["State"]["Pid"] for k in keepers}
        for seed in range(4):
            stop = threading.Event()

            def churn(number: int, stop: threading.Event = stop) -> None:
                while not stop.is_set():
                    try:
                        run_and_remove(daemon, number)
                    except (OSError, AssertionError, HTTPException):
                        return

            threads = [threading.Thread(target=churn, args=(n,)) for n in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.3 + 0.37 * seed)
            daemon.kill()
            stop.set()
            for thread in threads:
                thread.join()
            daemon.start()
            for keeper in keepers:
                state = daemon.json("GET", f"/containers/{keeper}/json")["State"]
                assert (state["Running"], state["Pid"]) == (True, pids[keeper])
        for container in daemon.json("GET", "/containers/json?all=1"):
            status, answer = daemon.request("DELETE", f"/containers/{container['Id']}?force=1")
            assert status == 204, answer
        assert_empty(daemon)
