"""Deciding a profile's conditions, and what the compiled default profile says."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from wherry.errors import InvalidParameter
from wherry.linux import seccomp
from wherry.linux.seccomp import Comparison, resolve

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
X86_64 = 0xC000003E


def rules(entry: dict[str, Any], capabilities: tuple[str, ...] = (), kernel: str = "6.1") -> int:
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [entry]}
    return len(resolve(profile, capabilities, "x86_64", kernel).rules)


@pytest.mark.parametrize(
    ("conditions", "capabilities", "kernel", "count"),
    [
        ({}, (), "6.1", 1),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, (), "6.1", 0),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, ("CAP_SYS_ADMIN",), "6.1", 1),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, ("CAP_SYS_ADMIN",), "6.1", 0),
        ({"includes": {"arches": ["arm64"]}}, (), "6.1", 0),
        ({"includes": {"arches": ["amd64"]}}, (), "6.1", 1),
        ({"excludes": {"arches": ["amd64"]}}, (), "6.1", 0),
        ({"includes": {"minKernel": "4.8"}}, (), "4.4.0-generic", 0),
        ({"includes": {"minKernel": "4.8"}}, (), "6.18.44-x", 1),
    ],
)
def test_conditions(
    conditions: dict[str, Any], capabilities: tuple[str, ...], kernel: str, count: int
) -> None:
    entry = {"names": ["read"], "action": "SCMP_ACT_ALLOW", **conditions}
    assert rules(entry, capabilities, kernel) == count


def test_comparisons_on_one_argument_are_alternatives() -> None:
    entry = {
        "names": ["socket"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": v} for v in (1, 2)],
    }
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [entry]}
    found = resolve(profile, (), "x86_64", "6.1").rules
    assert [r.comparisons for r in found] == [
        (Comparison(0, 4, 1, 0),),
        (Comparison(0, 4, 2, 0),),
    ]


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_NONSENSE"},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["read"], "action": "X"}],
        },
    ],
)
def test_unknown_actions_are_refused(profile: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        resolve(profile, (), "x86_64", "6.1")


def run(program: bytes, number: int, *arguments: int, architecture: int = X86_64) -> int:
    """Run classic BPF on one system call."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = [struct.unpack_from("=HBBI", program, i) for i in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x25:
                at += yes if accumulator > value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x06:
                return value
            case _:
                raise AssertionError(hex(operation))


@pytest.fixture(scope="module")
def default() -> bytes:
    if not seccomp.available():
        pytest.skip("libseccomp is not installed")
    wanted = resolve(seccomp.default_profile(), ["CAP_CHOWN"], "x86_64", "6.1")
    return seccomp.compile_filter(wanted, "x86_64")


@pytest.mark.parametrize(
    ("name", "number", "arguments", "verdict"),
    [
        ("read", 0, (), ALLOW),
        ("unshare", 272, (), ERRNO | 1),
        ("mount", 165, (), ERRNO | 1),
        ("keyctl", 250, (), ERRNO | 1),
        ("add_key", 248, (), ERRNO | 1),
        ("bpf", 321, (), ERRNO | 1),
        ("userfaultfd", 323, (), ERRNO | 1),
        ("perf_event_open", 298, (), ERRNO | 1),
        ("io_uring_setup", 425, (), ERRNO | 1),
        ("fsopen", 430, (), ERRNO | 1),
        ("kexec_load", 246, (), ERRNO | 1),
        ("clone of a thread", 56, (0x3D0F00,), ALLOW),
        ("clone of a user namespace", 56, (0x10000000,), ERRNO | 1),
        ("clone3", 435, (), ERRNO | 38),
        ("socket AF_INET", 41, (2,), ALLOW),
        ("socket AF_ALG", 41, (38,), ERRNO | 1),
        ("socket AF_VSOCK", 41, (40,), ERRNO | 1),
        ("socket AF_XDP", 41, (44,), ALLOW),
        ("socketpair AF_UNIX", 53, (1,), ALLOW),
        ("socketpair AF_VSOCK", 53, (40,), ERRNO | 1),
        ("personality(PER_LINUX)", 135, (0,), ALLOW),
        ("personality(ADDR_NO_RANDOMIZE)", 135, (0x40000,), ERRNO | 1),
        ("ptrace", 101, (), ALLOW),
        ("a call of the future", 999, (), ERRNO | 38),
    ],
)
def test_default_profile(
    default: bytes, name: str, number: int, arguments: tuple[int, ...], verdict: int
) -> None:
    assert run(default, number, *arguments) == verdict, name


I386 = 0x40000003


@pytest.mark.parametrize(
    ("architecture", "number"), [(X86_64, 41), (X86_64, 0x40000029), (I386, 359)]
)
def test_families_are_decided_as_the_kernel_reads_them(
    default: bytes, architecture: int, number: int
) -> None:
    """All 46 of Linux, and what the kernel cuts to them: an ``int`` is half a register."""
    for family in range(46):
        verdict = ERRNO | 1 if family in (38, 40) else ALLOW
        for upper in (0, 1 << 32, 0xFFFFFFFF << 32) if architecture == X86_64 else (0,):
            given = run(default, number, upper | family, architecture=architecture)
            assert given == verdict, (family, hex(upper))


def test_a_multiplexed_call_whose_arguments_no_filter_sees(default: bytes) -> None:
    for call in range(32):  # SYS_SOCKET and its kind, <linux/net.h>
        assert run(default, 102, call, architecture=I386) == ERRNO | 38, call


def test_another_architecture_is_killed(default: bytes) -> None:
    assert run(default, 0, architecture=0xC00000B7) == 0


def test_compiled_profiles_are_kept(tmp_path: Any) -> None:
    if not seccomp.available():
        pytest.skip("libseccomp is not installed")
    first = seccomp.compiled(str(tmp_path), None, ["CAP_CHOWN"])
    assert seccomp.compiled(str(tmp_path), None, ["CAP_CHOWN"]) == first
    assert seccomp.compiled(str(tmp_path), None, ["CAP_SYS_ADMIN"]) != first
    assert len(list(tmp_path.iterdir())) == 2


def test_the_oci_form_says_the_same() -> None:
    form = seccomp.oci_form(None, ["CAP_CHOWN"])
    assert (form["defaultAction"], form["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    machine = "x86_64"
    again = resolve(form, (), machine, "6.1")
    first = resolve(seccomp.default_profile(), ["CAP_CHOWN"], machine, "6.1")
    assert set(again.rules) == set(first.rules)
