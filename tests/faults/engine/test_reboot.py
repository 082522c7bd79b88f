"""The host starts anew: no process is left, the runtime folder is empty, the disk is as it was."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.faults.walker import create
from tests.images import busybox_archive

from wherry.linux import mounts

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

ALWAYS = {"Name": "always"}


@pytest.fixture
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


def reboot(daemon: Daemon) -> None:
    """Kill everything that belongs to the engine, and take away what lives in memory."""
    pids = [
        daemon.json("GET", f"/containers/{row['Id']}/json")["State"]["Pid"]
        for row in daemon.json("GET", "/containers/json")
    ]
    shims = [
        int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) for pid in pids
    ]
    porters = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_porter(path, daemon)]
    daemon.kill()
    for pid in (*shims, *porters):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    mounted = Path("/proc/self/mountinfo").read_text().splitlines()
    for line in reversed(mounted):
        point = line.split()[4]
        if point.startswith(f"{daemon.exec_root}/"):
            mounts.unmount(point, mounts.MNT_DETACH)
    shutil.rmtree(daemon.exec_root)


def _lives(pid: int) -> bool:
    """Whether a process has not ended, be it that nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_porter(path: Path, daemon: Daemon) -> bool:
    with contextlib.suppress(OSError):
        words = (path / "cmdline").read_bytes()
        return b"wherry.network.porter" in words and bytes(daemon.exec_root) in words
    return False


def states(daemon: Daemon) -> dict[str, tuple[str, int]]:
    """Status and number of restarts of each container, by its name."""
    views = [
        daemon.json("GET", f"/containers/{row['Id']}/json")
        for row in daemon.json("GET", "/containers/json?all=1")
    ]
    return {view["Name"]: (view["State"]["Status"], view["RestartCount"]) for view in views}


def settled(daemon: Daemon, wanted: dict[str, tuple[str, int]]) -> None:
    """Wait until the containers are as they should be."""
    deadline = time.monotonic() + 60
    while (found := states(daemon)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def run(daemon: Daemon, name: str, **host: Any) -> None:
    body = {"RestartPolicy": ALWAYS, **host}
    made = daemon.json(
        "POST",
        f"/containers/create?name={name}",
        {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": body},
    )
    daemon.json("POST", f"/containers/{made['Id']}/start")


def test_containers_start_after_those_whose_namespaces_they_join(engine: Daemon) -> None:
    """Named so that neither the order of their names nor that of their creation helps."""
    run(engine, "z-network")
    run(engine, "y-shared", IpcMode="shareable")
    run(engine, "a-network", NetworkMode="container:z-network")
    run(engine, "b-ipc", IpcMode="container:y-shared")
    run(engine, "c-pid", PidMode="container:a-network", NetworkMode="container:a-network")
    run(engine, "d-link", Links=["z-network:alias"])
    create(engine, ["true"])
    before = states(engine)
    for restarts in (1, 2):
        reboot(engine)
        engine.start()
        # As many restarts as reboots: no start was tried in vain.
        settled(engine, {
            name: (status, restarts if status == "running" else 0)
            for name, (status, _) in before.items()
        })  # fmt: skip
        engine.docker("exec", "a-network", "true")
        engine.docker("exec", "c-pid", "true")


def test_a_start_that_fails_is_tried_again_as_the_policy_says(
    engine: Daemon, tmp_path: Path
) -> None:
    """A folder that is mounted late, after a reboot, is what policies meet in practice."""
    source = tmp_path / "late"
    source.mkdir()
    mount = {"Type": "bind", "Source": str(source), "Target": "/late"}
    run(engine, "always", Mounts=[mount])
    twice = {"Name": "on-failure", "MaximumRetryCount": 2}
    run(engine, "twice", Mounts=[mount], RestartPolicy=twice)
    run(engine, "stopped", Mounts=[mount])
    source.rmdir()
    reboot(engine)
    engine.start()
    engine.json("POST", "/containers/stopped/stop?t=0")
    deadline = time.monotonic() + 60
    while (found := states(engine))["/twice"] != ("exited", 2) or found["/always"][1] < 2:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert "late" in engine.json("GET", "/containers/twice/json")["State"]["Error"]
    source.mkdir()
    settled(engine, {
        "/always": ("running", states(engine)["/always"][1]),
        "/twice": ("exited", 2),
        "/stopped": ("exited", states(engine)["/stopped"][1]),
    })  # fmt: skip
    again = engine.request("POST", "/containers/twice/start")
    assert again[0] == 204, again
