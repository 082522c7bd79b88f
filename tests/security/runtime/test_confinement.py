"""What a default container may not do to the kernel."""

from __future__ import annotations

import errno
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.containers import DEFAULT_CAPABILITIES, MASKED, READ_ONLY, make_spec
from tests.integration.runtime.conftest import Runner

from wherry.linux import seccomp
from wherry.linux.cgroups import discover


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


async def test_cve_2023_25809_cgroups_are_read_only_in_the_hosts_namespace_too(
    runner: Runner,
) -> None:
    script = """
        for f in /sys/fs/cgroup/*/tasks /sys/fs/cgroup/*/cgroup.procs; do
            [ -e $f ] && echo saw
            (echo 0 > $f) 2>/dev/null && echo wrote $f
            mkdir ${f%/*}/x 2>/dev/null && echo made ${f%/*}/x
        done
    """
    spec = make_spec(["sh", "-c", script])
    spec["linux"]["namespaces"].remove({"type": "cgroup"})
    _, output = await runner.run(spec)
    if discover().version == 1:
        assert {*output.split()} == {"saw"}
    assert "wrote" not in output and "made" not in output


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


# Numbers of x86-64; arguments that the kernel refuses in other words when it is asked at all.
SYSCALLS = {
    "acct": (163, 0),
    "add_key": (248, 0, 0, 0, 0, -4),
    "bpf": (321, 0, 0, 0),
    "clone of a user namespace": (56, 0x10000011, 0, 0, 0, 0),
    "clock_settime": (227, 0, 0),
    "delete_module": (176, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "fsopen": (430, 0, 0),
    "init_module": (175, 0, 0, 0),
    "io_uring_enter": (426, -1, 0, 0, 0, 0),
    "io_uring_register": (427, -1, 0, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "ioperm": (173, 0, 1, 1),
    "iopl": (172, 3),
    "kexec_file_load": (320, -1, -1, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "keyctl": (250, 0, -3, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "open_tree": (428, -1, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "pivot_root": (155, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0),
    "setns": (308, -1, 0),
    "swapon": (167, 0, 0),
    "umount2": (166, 0, 0),
    "unshare of a user namespace": (272, 0x10000000),
    "userfaultfd": (323, 0),
    "vhangup": (153,),
    "socket AF_ALG (CVE-2026-31431)": (41, 38, 5, 0),
    "socket AF_VSOCK": (41, 40, 1, 0),
}
_ASK = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in json.loads(sys.argv[1]).items():
    ctypes.set_errno(0)
    result = libc.syscall(*(ctypes.c_long(one) for one in arguments))
    print(json.dumps([name, result, ctypes.get_errno()]))
"""


async def answers(runner: Runner, **values: Any) -> dict[str, int]:
    """What each system call says in a container: its errno, 0 for success."""
    python = Path(sys.executable).resolve()
    # The host's own files are there to have an interpreter to ask with.
    command = ["chroot", "/host", str(python), "-ISc", _ASK, json.dumps(SYSCALLS)]
    spec = make_spec(command)
    spec["mounts"].append(
        {"destination": "/host", "type": "bind", "source": "/", "options": ["rbind", "ro"]}
    )
    status, output = await runner.run(spec, **values)
    assert status.code == 0, output
    found = [json.loads(line) for line in output.splitlines()]
    return {name: 0 if result >= 0 else number for name, result, number in found}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86-64")
async def test_the_filter_refuses_every_call_that_opens_the_kernel(
    runner: Runner, default_filter: str
) -> None:
    found = await answers(runner, seccomp=default_filter)
    assert found.keys() == SYSCALLS.keys()
    refused = {errno.EPERM, errno.ENOSYS}
    assert {name: number for name, number in found.items() if number not in refused} == {}
    # The kernel itself would have answered many of them otherwise: it is the filter.
    open_ = await answers(runner)
    for name in ("keyctl", "io_uring_enter", "setns"):
        assert open_[name] not in refused, name


# push rbx; mov eax,edi; mov ebx,esi; mov ecx,edx; xor edx,edx; int 0x80; cdqe; pop rbx; ret
_INT80 = "53 89f8 89f3 89d1 31d2 cd80 4898 5b c3"
_ASK_I386 = """
import ctypes, mmap, struct, sys
MAP_32BIT = 0x40
code = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT,
                 prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex(sys.argv[1]) + struct.pack("=iii", int(sys.argv[2]), 1, 0))
at = ctypes.addressof(ctypes.c_char.from_buffer(code))
call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int)(at)
print(call(102, 1, at + len(bytes.fromhex(sys.argv[1]))), call(359, int(sys.argv[2]), 1))
libc = ctypes.CDLL(None, use_errno=True)
for upper in (0, 1 << 32):
    libc.syscall(*map(ctypes.c_long, (41, upper | int(sys.argv[2]), 1, 0)))
    print(-ctypes.get_errno())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="code of x86-64")
@pytest.mark.parametrize("family", [38, 40], ids=["AF_ALG", "AF_VSOCK"])
async def test_no_way_around_the_rule_on_address_families(
    runner: Runner, default_filter: str, family: int
) -> None:
    """By i386's socketcall, i386's socket, and a family with bits that the kernel cuts off."""
    python = str(Path(sys.executable).resolve())
    spec = make_spec(["chroot", "/host", python, "-ISc", _ASK_I386, _INT80, str(family)])
    spec["mounts"].append(
        {"destination": "/host", "type": "bind", "source": "/", "options": ["rbind", "ro"]}
    )
    status, output = await runner.run(spec, seccomp=default_filter)
    assert status.code == 0, output
    refused = [-errno.ENOSYS, -errno.EPERM, -errno.EPERM, -errno.EPERM]
    assert [int(word) for word in output.split()] == refused
