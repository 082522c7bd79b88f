"""Many clients at once: nothing fails, nothing leaks, memory stays flat."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

from wherry.instance import Instance
from wherry.linux import cgroups

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

CLIENTS = 8
CONTAINERS = 200
RANDOM_SECONDS = 20.0
SLEEPER = ["sleep", "1000"]


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


def create(daemon: Daemon, command: list[str], **fields: object) -> str:
    """Make a container; returns its id."""
    body = {"Image": "busybox", "Cmd": command, **fields}
    made: str = daemon.json("POST", "/containers/create", body)["Id"]
    return made


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


class Walker:
    """One client that does random things to its own containers and remembers what must hold."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.daemon = daemon
        self.chance = random.Random(seed)
        self.running: list[str] = []
        self.stopped: list[str] = []
        self.steps = 0

    def post(self, container: str, action: str) -> int:
        status, answer = self.daemon.request("POST", f"/containers/{container}/{action}")
        assert status < 400, f"{action}: {status} {answer!r}"
        return status

    def start(self) -> None:
        if self.stopped and self.chance.random() < 0.5:
            container = self.stopped.pop()
        else:
            container = create(self.daemon, SLEEPER)
        self.post(container, "start")
        self.running.append(container)

    def stop(self) -> None:
        if self.running:
            container = self.running.pop(self.chance.randrange(len(self.running)))
            self.post(container, self.chance.choice(["stop?t=0", "kill"]))
            self.daemon.json("POST", f"/containers/{container}/wait")
            self.stopped.append(container)

    def restart(self) -> None:
        if self.running:
            self.post(self.chance.choice(self.running), "restart?t=0")

    def pause(self) -> None:
        if self.running:
            container = self.chance.choice(self.running)
            self.post(container, "pause")
            self.post(container, "unpause")

    def execute(self) -> None:
        if self.running:
            container = self.chance.choice(self.running)
            body = {"Cmd": ["sh", "-c", "exit 5"], "AttachStdout": True}
            made = self.daemon.json("POST", f"/containers/{container}/exec", body)["Id"]
            status, _ = self.daemon.request("POST", f"/exec/{made}/start", {"Detach": False})
            assert status == 200
            assert self.daemon.json("GET", f"/exec/{made}/json")["ExitCode"] == 5

    def remove(self) -> None:
        pool = self.stopped or self.running
        if pool:
            container = pool.pop()
            status, answer = self.daemon.request("DELETE", f"/containers/{container}?force=1")
            assert status == 204, answer

    def look(self) -> None:
        listed = {c["Id"] for c in self.daemon.json("GET", "/containers/json")}
        assert set(self.running) <= listed
        assert not set(self.stopped) & listed

    def walk(self, until: float) -> None:
        actions = [self.start, self.stop, self.restart, self.pause, self.execute, self.remove]
        while time.monotonic() < until:
            self.chance.choice([*actions, self.look])()
            self.steps += 1
        for container in self.running + self.stopped:
            self.daemon.request("DELETE", f"/containers/{container}?force=1")


def test_random_operations_keep_records_and_kernel_in_step() -> None:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        walkers = [Walker(daemon, seed) for seed in range(CLIENTS)]
        until = time.monotonic() + RANDOM_SECONDS
        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(walker.walk, until) for walker in walkers]:
                done.result()
        assert sum(walker.steps for walker in walkers) > 50
        assert_empty(daemon)


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
