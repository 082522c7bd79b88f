"""Seccomp profiles compiled to BPF by libseccomp, once, and kept on disk by digest.

A profile is Docker's JSON form (``archMap``, ``includes``, ``excludes``) or the OCI form
(``architectures``). `wherry.linux.filters` loads the result.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import json
import os
import platform
import struct
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.errors import InvalidParameter, KernelError, Unavailable
from wherry.linux.seccomp_default import default_profile
from wherry.numbers import whole_number

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")

_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64", 0xC000003E),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64", 0xC00000B7),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64", 0xC00000F3),
    "s390x": ("s390x", "SCMP_ARCH_S390X", 0x80000016),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE", 0xC0000015),
}
"""uname's machine: Go's name, libseccomp's name, the kernel's AUDIT_ARCH number."""

_ATTRIBUTE_NO_NEW_PRIVS = 3
_ATTRIBUTE_OPTIMIZE = 8
_BINARY_TREE = 2
_X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class Comparison:
    """A condition on one argument of a system call."""

    index: int
    operator: int
    value: int
    second: int


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens on one system call when all comparisons hold."""

    name: str
    action: int
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """A profile with all its conditions decided."""

    default: int
    architectures: tuple[str, ...]
    rules: tuple[Rule, ...]


def resolve(
    profile: Mapping[str, Any], capabilities: Iterable[str], machine: str, kernel: str
) -> Filter:
    """Decide a profile's conditions for a container with ``capabilities`` on this machine.

    Raises `InvalidParameter` for what no profile may say.
    """
    held = set(capabilities)
    go_name, native, _ = _MACHINES[machine]
    default_errno = profile.get("defaultErrnoRet")
    default = _action(profile.get("defaultAction") or "", default_errno)
    rules: list[Rule] = []
    for entry in profile.get("syscalls") or ():
        if not _applies(entry, held, go_name, kernel):
            continue
        action = _action(entry.get("action") or "", entry.get("errnoRet"))
        if action == default:
            continue
        names = entry.get("names") or ([entry["name"]] if entry.get("name") else [])
        for comparisons in _alternatives(entry.get("args") or ()):
            rules += [Rule(name, action, comparisons) for name in names]
    return Filter(default, _architectures(profile, native), tuple(rules))


def _action(name: str, number: int | None) -> int:
    if name not in _ACTIONS:
        raise InvalidParameter(f"seccomp profile has an unknown action: {name!r}")
    if name in _WITH_NUMBER:
        return _ACTIONS[name] | (errno.EPERM if number is None else number & 0xFFFF)
    return _ACTIONS[name]


def _applies(entry: Mapping[str, Any], held: set[str], go_name: str, kernel: str) -> bool:
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if includes.get("arches") and go_name not in includes["arches"]:
        return False
    if any(name not in held for name in includes.get("caps") or ()):
        return False
    minimum = includes.get("minKernel")
    if minimum and _version(kernel) < _version(minimum):
        return False
    if go_name in (excludes.get("arches") or ()):
        return False
    if any(name in held for name in excludes.get("caps") or ()):
        return False
    without = excludes.get("minKernel")
    return not (without and _version(kernel) >= _version(without))


def _version(text: str) -> tuple[int, int]:
    digits = ("".join(c for c in part if c in "0123456789") for part in text.split(".")[:2])
    parts = [whole_number(part) or 0 for part in digits]
    return parts[0], parts[1] if len(parts) > 1 else 0


def _alternatives(arguments: Iterable[Mapping[str, Any]]) -> list[tuple[Comparison, ...]]:
    """All must hold; several on one argument, which libseccomp cannot join, are alternatives."""
    comparisons = []
    for entry in arguments:
        if entry.get("op") not in _OPERATORS:
            raise InvalidParameter(f"seccomp profile has an unknown operator: {entry.get('op')!r}")
        comparisons.append(
            Comparison(
                entry.get("index") or 0,
                _OPERATORS[entry["op"]],
                entry.get("value") or 0,
                entry.get("valueTwo") or 0,
            )
        )
    if len({c.index for c in comparisons}) < len(comparisons):
        return [(comparison,) for comparison in comparisons]
    return [tuple(comparisons)]


def _architectures(profile: Mapping[str, Any], native: str) -> tuple[str, ...]:
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == native:
            return (native, *(entry.get("subArchitectures") or ()))
    named = tuple(profile.get("architectures") or ())
    return named or (native,)


class _Compare(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise Unavailable(
            "libseccomp.so.2 is not installed: seccomp profiles cannot be used"
        ) from None
    library.seccomp_init.restype = ctypes.c_void_p
    return library


def actions() -> list[str]:
    """The actions that profiles may name."""
    return list(_ACTIONS)


def operators() -> list[str]:
    """The comparisons that profiles may name."""
    return list(_OPERATORS)


def architectures() -> list[str]:
    """The machines whose profiles can be compiled."""
    return [name for _, name, _ in _MACHINES.values()]


def available() -> bool:
    """Whether libseccomp is installed and knows this machine."""
    try:
        _library()
    except Unavailable:
        return False
    return platform.machine() in _MACHINES


def compile_filter(wanted: Filter, machine: str) -> bytes:
    """The filter as classic BPF."""
    library = _library()
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(wanted.default)))
    if not context:
        raise KernelError("make seccomp filter", "", errno.ENOMEM)
    try:
        # The runtime decides about no_new_privs itself.
        library.seccomp_attr_set(context, _ATTRIBUTE_NO_NEW_PRIVS, ctypes.c_uint32(0))
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))
        for name in wanted.architectures:
            token = library.seccomp_arch_resolve_name(
                name.removeprefix("SCMP_ARCH_").lower().encode()
            )
            if token:
                library.seccomp_arch_add(context, ctypes.c_uint32(token))
        highest = 0
        for rule in wanted.rules:
            highest = max(highest, _add_rule(library, context, rule))
        program = _export(library, context)
    finally:
        library.seccomp_release(context)
    if wanted.default & 0xFFFF0000 == _ACTIONS["SCMP_ACT_ERRNO"]:
        return _unknown_is_enosys(_MACHINES[machine][2], highest) + program
    return program


def _add_rule(library: ctypes.CDLL, context: ctypes.c_void_p, rule: Rule) -> int:
    number = int(library.seccomp_syscall_resolve_name(rule.name.encode()))
    if number == -1:
        return 0  # a name that this libseccomp does not know: the default action is for it
    comparisons = (_Compare * len(rule.comparisons))(
        *(_Compare(c.index, c.operator, c.value, c.second) for c in rule.comparisons)
    )
    result = library.seccomp_rule_add_array(
        context,
        ctypes.c_uint32(rule.action),
        ctypes.c_int(number),
        ctypes.c_uint(len(rule.comparisons)),
        comparisons,
    )
    if result < 0 and -result not in (errno.EACCES, errno.EEXIST, errno.EDOM):
        raise KernelError("add seccomp rule", rule.name, -result)
    return max(0, number)


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    with tempfile.TemporaryFile() as file:
        result = library.seccomp_export_bpf(context, ctypes.c_int(file.fileno()))
        if result < 0:
            raise KernelError("compile seccomp filter", "", -result)
        file.seek(0)
        return file.read()


def _unknown_is_enosys(architecture: int, highest: int) -> bytes:
    """Instructions that answer ENOSYS to system calls newer than every rule.

    A C library then uses an older call; EPERM, the default, would make it give up.
    """

    def instruction(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    load, equal, greater_equal, greater, give_back = 0x20, 0x15, 0x35, 0x25, 0x06
    return b"".join(
        (
            instruction(load, 0, 0, 4),  # seccomp_data.arch
            instruction(equal, 0, 4, architecture),
            instruction(load, 0, 0, 0),  # seccomp_data.nr
            instruction(greater_equal, 2, 0, _X32_BIT),
            instruction(greater, 0, 1, highest),
            instruction(give_back, 0, 0, _ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS),
        )
    )


def compile_profile(profile: Mapping[str, Any] | None, capabilities: Iterable[str]) -> bytes:
    """``profile`` (None: the default one) for this machine, as classic BPF."""
    machine = platform.machine()
    if machine not in _MACHINES:
        raise Unavailable(f"seccomp profiles are not known for {machine}")
    chosen = default_profile() if profile is None else profile
    return compile_filter(resolve(chosen, capabilities, machine, platform.release()), machine)


def oci_form(profile: Mapping[str, Any] | None, capabilities: Iterable[str]) -> dict[str, Any]:
    """``profile`` with its conditions decided, as ``linux.seccomp`` of an OCI spec."""
    chosen = default_profile() if profile is None else profile
    wanted = resolve(chosen, capabilities, platform.machine(), platform.release())
    default, default_errno = _spell(wanted.default)
    grouped: dict[tuple[int, tuple[Comparison, ...]], list[str]] = {}
    for rule in wanted.rules:
        grouped.setdefault((rule.action, rule.comparisons), []).append(rule.name)
    operators_by_number = {number: name for name, number in _OPERATORS.items()}
    calls = []
    for (action, comparisons), found in grouped.items():
        name, number = _spell(action)
        arguments = [
            {
                "index": c.index,
                "op": operators_by_number[c.operator],
                "value": c.value,
                "valueTwo": c.second,
            }
            for c in comparisons
        ]
        entry: dict[str, Any] = {"names": found, "action": name, "args": arguments}
        calls.append(entry if number is None else {**entry, "errnoRet": number})
    form = {
        "defaultAction": default,
        "architectures": list(wanted.architectures),
        "syscalls": calls,
    }
    return form if default_errno is None else {**form, "defaultErrnoRet": default_errno}


def _spell(action: int) -> tuple[str, int | None]:
    """The name of an action, and the number that goes with it."""
    for name in _WITH_NUMBER:
        if action & 0xFFFF0000 == _ACTIONS[name]:
            return name, action & 0xFFFF
    return next(name for name, number in _ACTIONS.items() if number == action), None


def compiled(folder: str, profile: Mapping[str, Any] | None, capabilities: Iterable[str]) -> str:
    """Path of the compiled profile below ``folder``; compiled when it is not there yet."""
    held = sorted(set(capabilities))
    chosen = default_profile() if profile is None else profile
    machine = platform.machine()
    key = json.dumps([3, chosen, held, machine, platform.release()], sort_keys=True)
    path = f"{folder}/{hashlib.sha256(key.encode()).hexdigest()}.bpf"
    if os.path.exists(path):
        return path
    program = compile_profile(chosen, held)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=folder)
    with open(fd, "wb") as file:
        file.write(program)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    return path
