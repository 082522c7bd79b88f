"""What the engine does where the host has AppArmor, and in a cgroup that is not the tree's root."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

from wherry.instance import Instance

PROFILE = "wherry-default"
CURRENT = ["cat", "/proc/self/attr/current"]
CONFINED = f"{PROFILE} (enforce)"
CONTROLLERS = "+cpu +memory +pids"
POLICY = Path("/sys/kernel/security/apparmor")


def load_busybox(daemon: Daemon) -> None:
    daemon.json("POST", "/images/load", busybox_archive().read_bytes())


def run(daemon: Daemon, command: list[str], **host: Any) -> tuple[int, str]:
    """Run a container to its end: exit code and output of a terminal."""
    body = {"Image": "busybox", "Cmd": command, "Tty": True, "HostConfig": host}
    container = daemon.json("POST", "/containers/create", body)["Id"]
    try:
        daemon.json("POST", f"/containers/{container}/start")
        code = daemon.json("POST", f"/containers/{container}/wait")["StatusCode"]
        _, output = daemon.request("GET", f"/containers/{container}/logs?stdout=1&stderr=1")
        return code, output.decode().strip()
    finally:
        daemon.json("DELETE", f"/containers/{container}?force=1")


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        load_busybox(daemon)
        yield daemon


def test_info_tells_of_apparmor(engine: Daemon) -> None:
    assert "name=apparmor" in engine.json("GET", "/info")["SecurityOptions"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({}, CONFINED),
        ({"UsernsMode": "host"}, CONFINED),
        ({"SecurityOpt": ["no-new-privileges"]}, CONFINED),
        ({"SecurityOpt": ["apparmor=unconfined"]}, "unconfined"),
        ({"Privileged": True}, "unconfined"),
        ({"Privileged": True, "SecurityOpt": [f"apparmor={PROFILE}"]}, CONFINED),
    ],
)
def test_a_container_runs_under_its_profile(
    engine: Daemon, host: dict[str, Any], expected: str
) -> None:
    assert run(engine, CURRENT, **host) == (0, expected)


def test_inspect_and_exec_have_the_profile(engine: Daemon) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"]}
    container = engine.json("POST", "/containers/create", body)["Id"]
    engine.json("POST", f"/containers/{container}/start")
    for _ in range(2):
        view = engine.json("GET", f"/containers/{container}/json")
        assert view["AppArmorProfile"] == PROFILE
        told = {"Cmd": CURRENT, "AttachStdout": True, "Tty": True}
        made = engine.json("POST", f"/containers/{container}/exec", told)["Id"]
        _, output = engine.request("POST", f"/exec/{made}/start", {"Tty": True})
        assert output.decode().strip() == CONFINED
        engine.restart()
    engine.json("DELETE", f"/containers/{container}?force=1")


ATTACKS = (
    "mount -t tmpfs none /tmp",
    "mount --bind /proc /tmp",
    "head -c1 /proc/kcore",
    "echo x >/proc/sysrq-trigger",
    "echo 1 >/proc/sys/vm/drop_caches",
    "echo core >/proc/sys/kernel/core_pattern",
    "ls /sys/firmware/",
)


def test_the_profile_holds_where_everything_else_is_open(engine: Daemon) -> None:
    """All capabilities, no filter, no masks, the host's ids: only the profile is left."""
    host = {
        "CapAdd": ["ALL"],
        "UsernsMode": "host",
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "SecurityOpt": ["seccomp=unconfined", f"apparmor={PROFILE}"],
    }
    script = "; ".join(f"({attack}) && echo succeeded: '{attack}'" for attack in ATTACKS)
    _, output = run(engine, ["sh", "-c", f"{script}; echo end"], **host)
    assert "succeeded" not in output
    assert output.lower().count("denied") == len(ATTACKS)


def test_without_the_profile_the_same_is_possible(engine: Daemon) -> None:
    script = "mount -t tmpfs none /tmp && head -c1 /proc/kcore >/dev/null"
    options = ["seccomp=unconfined", "apparmor=unconfined"]
    host = {"CapAdd": ["ALL"], "UsernsMode": "host", "MaskedPaths": []}
    code, output = run(engine, ["sh", "-c", script], SecurityOpt=options, **host)
    assert code == 0, output


def test_a_profile_that_is_not_loaded_fails_the_start(engine: Daemon) -> None:
    body = {
        "Image": "busybox",
        "Cmd": ["true"],
        "HostConfig": {"SecurityOpt": ["apparmor=none-such"]},
    }
    container = engine.json("POST", "/containers/create", body)["Id"]
    status, answer = engine.request("POST", f"/containers/{container}/start")
    engine.json("DELETE", f"/containers/{container}")
    assert status in (400, 500)
    assert b"none-such" in answer


def test_a_profile_that_was_removed_is_loaded_again(engine: Daemon) -> None:
    (POLICY / ".remove").write_text(PROFILE)
    assert f"{PROFILE} (" not in (POLICY / "profiles").read_text()
    assert run(engine, CURRENT) == (0, CONFINED)


class Boxed(Daemon):
    """A daemon whose cgroup root is not the tree's, with another process in it."""

    def __init__(self, box: Path) -> None:
        super().__init__()
        self.box = box

    @property
    def command(self) -> list[str]:
        mount = "umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        inside = f'{mount} && (sleep 1000 &) && exec "$@"'
        enter = f"echo $$ >{self.box}/cgroup.procs && exec unshare -Cm sh -c '{inside}' sh \"$@\""
        return ["sh", "-c", enter, "sh", *super().command]


@pytest.fixture
def box() -> Iterator[Path]:
    """A cgroup with controllers, below the one that systemd has delegated to these tests."""
    own = Path("/proc/self/cgroup").read_text().strip().removeprefix("0::/")
    delegated = Path("/sys/fs/cgroup") / own
    (delegated / "tests").mkdir()
    for pid in (delegated / "cgroup.procs").read_text().split():
        (delegated / "tests/cgroup.procs").write_text(pid)
    (delegated / "cgroup.subtree_control").write_text(CONTROLLERS)
    made = delegated / "box"
    made.mkdir()
    yield made
    (made / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + 60
    while made.exists():
        for folder, _, _ in os.walk(made, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_limits_hold_below_a_cgroup_with_processes(box: Path) -> None:
    with Boxed(box) as daemon:
        load_busybox(daemon)
        instance = Instance.of_data_root(str(daemon.data_root), "/var/lib/wherry")
        script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
        code, output = run(daemon, ["sh", "-c", script], Memory=64 << 20, PidsLimit=77)
        assert (code, output.split()) == (0, [str(64 << 20), "77"])
        assert (box / "cgroup.procs").read_text() == ""
        host = (box / f"{instance.name}-host" / "cgroup.procs").read_text().split()
        assert daemon.process is not None
        assert str(daemon.process.pid) in host
