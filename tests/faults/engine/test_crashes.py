"""The daemon is killed at every fault point of a container's life, shims are killed, disks fill.

After each: the restarted daemon answers, its records agree with the kernel, nothing is left.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive
from tests.waiting import until

from wherry.faults import POINTS
from wherry.instance import Instance
from wherry.linux.cgroups import discover

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.stop()
        daemon.environment["WHERRY_FAULT"] = str(fault_file(daemon))
        daemon.start()
        daemon.docker("load", "-i", str(busybox_archive()))
        daemon.docker("network", "create", "net")
        yield daemon


def fault_file(daemon: Daemon) -> Path:
    """Where the daemon looks for the fault that a test wants."""
    return daemon.folder / "fault"


def cgroups_of(daemon: Daemon) -> set[str]:
    """Ids of the containers that have cgroups."""
    parent = Instance.of_data_root(str(daemon.data_root), "").cgroup_parent
    return {
        entry.name
        for point in discover().hierarchies()
        for entry in (Path(point + parent).iterdir() if Path(point + parent).is_dir() else ())
        if entry.is_dir() and len(entry.name) == 64
    }


def assert_agreement(daemon: Daemon) -> None:
    """Whatever the engine lists is there, and nothing else is."""
    rows = daemon.json("GET", "/containers/json?all=1")
    known = {row["Id"] for row in rows}
    running = {row["Id"] for row in rows if row["State"] in ("running", "paused")}
    assert set(os.listdir(daemon.data_root / "containers")) == known
    sockets = {path.stem for path in (daemon.exec_root / "shims").glob("*.sock")}
    assert sockets == running
    assert cgroups_of(daemon) == running
    for row in rows:
        view = daemon.json("GET", f"/containers/{row['Id']}/json")
        if row["Id"] in running:
            os.kill(view["State"]["Pid"], 0)
    mounted = Path("/proc/self/mountinfo").read_text()
    assert f"{daemon.data_root}/roots/" not in mounted


def settled(daemon: Daemon) -> None:
    """Wait until nothing goes on in the background, then compare."""
    deadline = time.monotonic() + 10
    while True:
        try:
            assert_agreement(daemon)
            return
        except (AssertionError, ProcessLookupError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def attempt(daemon: Daemon, method: str, path: str, body: Any = None) -> int:
    """A request during which the daemon may die: the status, 0 when there was no answer."""
    try:
        return daemon.request(method, path, body)[0]
    except (OSError, ConnectionError):
        return 0
    except Exception as error:  # http.client: the answer was cut off
        assert "RemoteDisconnected" in type(error).__name__ or "Incomplete" in str(error)
        return 0


def live_once(daemon: Daemon, name: str) -> None:
    """Create, start, end and remove one container, wherever that is interrupted."""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", "echo out; sleep 0.2"]}
    for method, path, content in (
        ("POST", f"/containers/create?name={name}", body),
        ("POST", f"/containers/{name}/start", None),
        ("POST", f"/containers/{name}/wait", None),
        ("DELETE", f"/containers/{name}?force=1", None),
    ):
        if attempt(daemon, method, path, content) == 0:
            return


def archive() -> bytes:
    """A tar of one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("copied"))
    return made.getvalue()


OPERATIONS: dict[str, tuple[str, str, Any]] = {
    "pause": ("POST", "/containers/victim/pause", None),
    "unpause": ("POST", "/containers/victim/unpause", None),
    "update": ("POST", "/containers/victim/update", {"CpuShares": 512}),
    "rename": ("POST", "/containers/victim/rename?name=other", None),
    "exec": ("POST", "", {"Detach": True}),
    "kill": ("POST", "/containers/victim/kill", None),
    "commit": ("POST", "/commit?container=victim&repo=committed", {}),
    "copy": ("PUT", "/containers/victim/archive?path=/tmp", archive()),
    "connect": ("POST", "/networks/net/connect", {"Container": "victim"}),
    "volume": ("POST", "/volumes/create", {"Name": "made"}),
}
"""Single operations on a running container, by the first word of their fault points."""


def operate(daemon: Daemon, name: str) -> None:
    """Do one operation, during which the daemon dies."""
    method, path, body = OPERATIONS[name]
    if name == "exec":
        wanted = daemon.json("POST", "/containers/victim/exec", {"Cmd": ["sleep", "0.1"]})
        path = f"/exec/{wanted['Id']}/start"
    assert attempt(daemon, method, path, body) == 0


@pytest.mark.parametrize("point", POINTS)
def test_a_daemon_killed_at_any_point_leaves_nothing_wrong(engine: Daemon, point: str) -> None:
    name = point.partition(".")[0]
    keeper = f"keeper-{point.replace('.', '-')}"
    engine.docker("run", "-d", "--name", keeper, "busybox", "sleep", "1000")
    if name in OPERATIONS:
        engine.docker("run", "-d", "--name", "victim", "busybox", "sleep", "1000")
        if name == "unpause":
            engine.docker("pause", "victim")
    fault_file(engine).write_text(f"{point}=kill")
    if name in OPERATIONS:
        operate(engine, name)
    else:
        live_once(engine, "victim")
    assert engine.process is not None
    assert engine.process.wait(20) == -signal.SIGKILL, f"{point} was not passed"
    engine.start()
    settled(engine)
    assert engine.docker("exec", keeper, "echo", "alive").stdout == "alive\n"
    if name in ("pause", "unpause", "update", "commit", "copy", "connect"):
        # Nobody was told that it was done: the container goes on as a running one.
        assert engine.docker("exec", "victim", "echo", "alive").stdout == "alive\n"
    if name in OPERATIONS:
        method, path, body = OPERATIONS[name]
        if name in ("rename", "volume", "copy", "update"):
            assert attempt(engine, method, path, body) in (200, 201, 204, 404)
        engine.request("DELETE", "/containers/other?force=1")
    engine.request("DELETE", "/containers/victim?force=1")
    engine.docker("run", "--rm", "--name", "victim", "busybox", "true")
    engine.docker("rm", "-f", keeper)
    settled(engine)


@pytest.mark.parametrize("point", [one for one in POINTS if one.startswith(("create.", "start."))])
def test_a_step_that_fails_is_undone(engine: Daemon, point: str) -> None:
    fault_file(engine).write_text(f"{point}=error")
    failed = engine.docker("run", "--name", "undone", "busybox", "true", check=False)
    assert failed.returncode == 125
    assert f"fault injected at {point}" in failed.stderr
    engine.request("DELETE", "/containers/undone?force=1")
    settled(engine)
    engine.docker("run", "--rm", "--name", "undone", "busybox", "true")


def shim_of(daemon: Daemon, container: str) -> int:
    """The process id of a running container's shim."""
    pid = daemon.json("GET", f"/containers/{container}/json")["State"]["Pid"]
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_killed_shim_is_a_dead_container_with_a_reason(engine: Daemon) -> None:
    engine.docker("run", "-d", "--name", "orphan", "busybox", "sleep", "1000")
    os.kill(shim_of(engine, "orphan"), signal.SIGKILL)
    assert engine.docker("wait", "orphan").stdout.strip() == "137"
    state = engine.json("GET", "/containers/orphan/json")["State"]
    assert state["Status"] == "exited"
    assert "shim" in state["Error"]
    settled(engine)
    engine.docker("start", "orphan")
    engine.docker("rm", "-f", "orphan")
    settled(engine)


@pytest.mark.skipif(shutil.which("runc") is None, reason="needs runc")
def test_a_killed_shim_of_another_runtime_leaves_no_mount(engine: Daemon) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "600"]}
    body["HostConfig"] = {
        "Runtime": "runc",
        "Mounts": [{"Type": "image", "Source": "busybox", "Target": "/image"}],
    }
    made = engine.json("POST", "/containers/create", body)["Id"]
    engine.json("POST", f"/containers/{made}/start")
    engine.restart()
    folder = str(engine.data_root / "containers" / made)
    assert f"{folder}/oci/rootfs" in Path("/proc/self/mountinfo").read_text()
    os.kill(shim_of(engine, made), signal.SIGKILL)
    assert engine.json("POST", f"/containers/{made}/wait")["StatusCode"] == 137
    assert folder not in Path("/proc/self/mountinfo").read_text()
    assert engine.request("DELETE", f"/containers/{made}")[0] == 204
    settled(engine)


def test_execs_and_health_outlive_the_daemon(engine: Daemon) -> None:
    check = {"Test": ["CMD-SHELL", "echo fine"], "Interval": 50_000_000}
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "Healthcheck": check}
    made = engine.json("POST", "/containers/create", body)["Id"]
    engine.json("POST", f"/containers/{made}/start")

    def execute(script: str) -> str:
        body = {"Cmd": ["sh", "-c", script], "User": "0"}
        exec_id: str = engine.json("POST", f"/containers/{made}/exec", body)["Id"]
        engine.json("POST", f"/exec/{exec_id}/start", {"Detach": True})
        return exec_id

    def view(exec_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = engine.json("GET", f"/exec/{exec_id}/json")
        return shown

    def health() -> dict[str, Any]:
        shown: dict[str, Any] = engine.json("GET", f"/containers/{made}/json")["State"]["Health"]
        return shown

    ended, meanwhile = execute("exit 5"), execute("while [ ! -e /end ]; do sleep 0.1; done; exit 7")
    until(lambda: not view(ended)["Running"])
    until(lambda: len(health()["Log"]) == 5)
    pid = view(meanwhile)["Pid"]
    engine.kill()
    engine.start()
    assert health()["Status"] == "healthy"
    assert len(health()["Log"]) == 5
    assert view(ended)["ExitCode"] == 5
    shown = view(meanwhile)
    assert (shown["Running"], shown["ExitCode"], shown["Pid"]) == (True, None, pid)
    assert shown["ProcessConfig"]["arguments"][0] == "-c"
    assert meanwhile in engine.json("GET", f"/containers/{made}/json")["ExecIDs"]
    execute("touch /end")
    until(lambda: not view(meanwhile)["Running"])
    assert view(meanwhile)["ExitCode"] == 7
    engine.request("DELETE", f"/containers/{made}?force=1")
    settled(engine)


def test_a_dead_launcher_is_replaced(engine: Daemon) -> None:
    engine.docker("run", "-d", "--name", "before", "busybox", "sleep", "1000")
    assert engine.process is not None
    children = Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children").read_text()
    for child in children.split():
        if "wherry.runtime.launcher" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    time.sleep(0.2)
    engine.docker("run", "--rm", "busybox", "true")
    assert engine.docker("exec", "before", "echo", "on").stdout == "on\n"
    engine.docker("rm", "-f", "before")


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    disk, point = tmp_path / "disk", tmp_path / "mount"
    point.mkdir()
    with disk.open("wb") as file:
        file.truncate(48 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)
    subprocess.run(["mount", "-o", "loop", str(disk), str(point)], check=True)
    try:
        with Daemon(folder=point) as daemon:
            daemon.docker("load", "-i", str(busybox_archive()))
            daemon.docker("run", "-d", "--name", "keeper", "busybox", "sleep", "1000")
            fill = "for size in 1M 1k; do dd if=/dev/zero of=/$size bs=$size; done 2>/dev/null"
            fill += "; sync; sleep 1000"
            daemon.docker("run", "-d", "--name", "filler", "busybox", "sh", "-c", fill)
            deadline = time.monotonic() + 90
            while os.statvfs(point).f_bavail > 64:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            failed = daemon.docker("run", "--name", "late", "busybox", "true", check=False)
            assert failed.returncode in (0, 125)
            assert daemon.docker("exec", "keeper", "echo", "alive").stdout == "alive\n"
            daemon.docker("rm", "-f", "filler")
            daemon.docker("rm", "-f", "late", check=False)
            daemon.docker("run", "--rm", "--name", "after", "busybox", "true")
            daemon.docker("rm", "-f", "keeper")
            settled(daemon)
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)
