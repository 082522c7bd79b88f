"""What a default container may not do to the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.containers import DEFAULT_CAPABILITIES, MASKED, READ_ONLY, make_spec
from tests.integration.runtime.conftest import Runner

from wherry.linux import seccomp


@pytest.fixture
def default_filter(tmp_path: Path) -> str:
    return seccomp.compiled(str(tmp_path), None, DEFAULT_CAPABILITIES)


async def refused(runner: Runner, script: str, **values: Any) -> str:
    status, output = await runner.run(make_spec(["sh", "-c", script]), **values)
    assert status.code != 0, output
    return output


@pytest.mark.parametrize(
    "script",
    [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs x /tmp",
        "mount -o remount,rw /sys",
        "mount -o remount,rw /proc/sys",
        "umount /proc/keys",
        "mknod /tmp/sda b 8 0 && head -c1 /tmp/sda",
        "dmesg",
        "hwclock -w",
        "! date -s 2020-01-01 2>&1 | grep permitted",
        "insmod /bin/busybox",
        "hostname other",
        "echo c > /proc/sysrq-trigger",
        "echo 1 > /proc/sys/kernel/panic",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo x > /sys/kernel/uevent_helper",
        "echo 1 > /sys/fs/cgroup/pids/pids.max",
        "mkdir /sys/fs/cgroup/pids/sub",
        "echo a > /sys/fs/cgroup/devices/devices.allow",
        "swapon /tmp",
        "chroot / reboot -f",
        "ip link add dummy0 type dummy",
        "ip addr add 10.0.0.1/8 dev lo",
        "nsenter -t 1 -m true",
    ],
)
async def test_refused(runner: Runner, default_filter: str, script: str) -> None:
    await refused(runner, script, seccomp=default_filter)


async def test_cve_2022_0492_release_agent_is_out_of_reach(
    runner: Runner, default_filter: str
) -> None:
    script = "unshare -UrmC sh -c 'mkdir /tmp/c && mount -t cgroup -o memory c /tmp/c'"
    await refused(runner, script, seccomp=default_filter)
    await refused(runner, "echo /x > /sys/fs/cgroup/memory/release_agent")


async def test_cve_2022_0492_even_without_a_filter(runner: Runner) -> None:
    script = (
        "unshare -UrmC sh -c 'mkdir /tmp/c && mount -t cgroup -o memory c /tmp/c "
        "&& echo /x > /tmp/c/release_agent'"
    )
    await refused(runner, script)


async def test_the_filter_is_loaded(runner: Runner, default_filter: str) -> None:
    spec = make_spec(["grep", "Seccomp:", "/proc/self/status"])
    _, output = await runner.run(spec, seccomp=default_filter)
    assert output.split() == ["Seccomp:", "2"]


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("no_new_privileges", [True, False])
async def test_the_filter_goes_with_every_user(
    runner: Runner, default_filter: str, uid: int, no_new_privileges: bool
) -> None:
    spec = make_spec(["grep", "Seccomp:", "/proc/self/status"])
    spec["process"]["user"] = {"uid": uid, "gid": uid}
    spec["process"]["noNewPrivileges"] = no_new_privileges
    _, output = await runner.run(spec, seccomp=default_filter)
    assert output.split() == ["Seccomp:", "2"]


@pytest.mark.parametrize("path", MASKED)
async def test_masked_paths_are_empty(runner: Runner, path: str) -> None:
    script = f"[ -e {path} ] || exit 0; [ -d {path} ] && ls -A {path} || cat {path}"
    assert (await runner.run(make_spec(["sh", "-c", script])))[1] == ""


@pytest.mark.parametrize("path", READ_ONLY)
async def test_read_only_paths(runner: Runner, path: str) -> None:
    script = f"grep ' {path} ' /proc/self/mounts | cut -d' ' -f4 | grep -c '^ro,'"
    if Path(path).exists():
        assert (await runner.run(make_spec(["sh", "-c", script])))[1] == "1\n"


async def test_a_fork_bomb_stays_inside(runner: Runner) -> None:
    spec = make_spec(["timeout", "-s", "KILL", "2", "sh", "-c", "f() { f | f & }; f; wait"])
    spec["linux"]["resources"]["pids"] = {"limit": 64}
    await runner.run(spec)
