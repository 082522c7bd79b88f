"""The device allow-list: control files on v1, a BPF program on v2."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.errors import KernelError
from wherry.linux import syscalls
from wherry.linux.cgroups.files import Setting

NAME = "devices"


@dataclass(frozen=True, slots=True)
class Rule:
    """Allow or deny ``access`` (of ``rwm``) to devices of ``kind`` ``a``, ``b`` or ``c``.

    A number that is None stands for all.
    """

    allow: bool
    kind: str
    major: int | None
    minor: int | None
    access: str

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Rule:
        """One entry of ``linux.resources.devices``."""
        major, minor = entry.get("major"), entry.get("minor")
        return cls(
            allow=bool(entry.get("allow")),
            kind=entry.get("type") or "a",
            major=None if major is None or major < 0 else major,
            minor=None if minor is None or minor < 0 else minor,
            access=entry.get("access") or "rwm",
        )

    def __str__(self) -> str:
        if self.kind == "a":
            return "a"
        major = "*" if self.major is None else self.major
        minor = "*" if self.minor is None else self.minor
        return f"{self.kind} {major}:{minor} {self.access}"


def rules(resources: Mapping[str, Any]) -> list[Rule]:
    """The rules of ``linux.resources``, in order; a later one wins."""
    return [Rule.parse(entry) for entry in resources.get("devices") or ()]


def settings_v1(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v1."""
    return [
        Setting("devices.allow" if rule.allow else "devices.deny", str(rule))
        for rule in rules(resources)
    ]


# --- cgroup v2: a program that the kernel asks, bpf(2) and include/uapi/linux/bpf.h

_BPF_PROG_LOAD = 5
_BPF_PROG_ATTACH = 8
_BPF_PROG_TYPE_CGROUP_DEVICE = 15
_BPF_CGROUP_DEVICE = 6
_BPF_F_ALLOW_MULTI = 2

_ACCESS = {"m": 1, "r": 2, "w": 4}
_KIND = {"b": 1, "c": 2}

_LOAD_WORD = 0x61  # dst = *(u32 *)(src + offset)
_MOVE_REGISTER = 0xBC  # 32 bits
_MOVE_CONSTANT = 0xB7
_AND_CONSTANT = 0x54  # 32 bits
_SHIFT_RIGHT_CONSTANT = 0x74  # 32 bits
_JUMP_UNEQUAL_CONSTANT = 0x55
_JUMP_UNEQUAL_REGISTER = 0x5D
_EXIT = 0x95


def _instruction(
    code: int, dst: int = 0, src: int = 0, offset: int = 0, constant: int = 0
) -> bytes:
    return struct.pack("<BBhI", code, dst | src << 4, offset, constant & 0xFFFFFFFF)


def program(device_rules: Sequence[Rule]) -> bytes:
    """An eBPF program that allows what ``device_rules`` allow.

    The last rule that matches decides, so the rules are tested from the last one on. r2 is the
    device's kind, r3 the wanted access, r4 and r5 its numbers (struct bpf_cgroup_dev_ctx).
    """
    code = [
        _instruction(_LOAD_WORD, dst=2, src=1, offset=0),
        _instruction(_AND_CONSTANT, dst=2, constant=0xFFFF),
        _instruction(_LOAD_WORD, dst=3, src=1, offset=0),
        _instruction(_SHIFT_RIGHT_CONSTANT, dst=3, constant=16),
        _instruction(_LOAD_WORD, dst=4, src=1, offset=4),
        _instruction(_LOAD_WORD, dst=5, src=1, offset=8),
    ]
    for rule in reversed(device_rules):
        body = _rule_body(rule)
        code.extend(body)
        if len(body) == 2:  # matches everything: nothing after it can be reached
            return b"".join(code)
    code += [_instruction(_MOVE_CONSTANT, dst=0, constant=0), _instruction(_EXIT)]
    return b"".join(code)


def _rule_body(rule: Rule) -> list[bytes]:
    tests: list[tuple[int, ...]] = []
    if rule.kind != "a":
        tests.append((_JUMP_UNEQUAL_CONSTANT, 2, _KIND[rule.kind]))
        if rule.access and set(rule.access) != set("rwm"):
            bits = sum(_ACCESS[letter] for letter in set(rule.access))
            # An allowing rule must cover all that is wanted; a denying one any part of it.
            tests.append((-1 if rule.allow else -2, 3, bits))
        if rule.major is not None:
            tests.append((_JUMP_UNEQUAL_CONSTANT, 4, rule.major))
        if rule.minor is not None:
            tests.append((_JUMP_UNEQUAL_CONSTANT, 5, rule.minor))
    lengths = [3 if test[0] < 0 else 1 for test in tests]
    left = sum(lengths) + 2
    code = []
    for (kind, register, value), length in zip(tests, lengths, strict=True):
        left -= length
        if kind < 0:
            code.append(_instruction(_MOVE_REGISTER, dst=1, src=register))
            code.append(_instruction(_AND_CONSTANT, dst=1, constant=value))
            if kind == -1:
                code.append(_instruction(_JUMP_UNEQUAL_REGISTER, dst=1, src=register, offset=left))
            else:
                code.append(_instruction(0x15, dst=1, offset=left, constant=0))
        else:
            code.append(_instruction(kind, dst=register, offset=left, constant=value))
    code.append(_instruction(_MOVE_CONSTANT, dst=0, constant=int(rule.allow)))
    code.append(_instruction(_EXIT))
    return code


def attach_v2(directory: str, device_rules: Sequence[Rule]) -> None:
    """Load the program for ``device_rules`` and attach it to the v2 cgroup at ``directory``."""
    instructions = program(device_rules)
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_name = ctypes.create_string_buffer(b"Apache-2.0")
    load = struct.pack(
        "=IIQQIIQII16sII",
        _BPF_PROG_TYPE_CGROUP_DEVICE,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_name),
        0,
        0,
        0,
        0,
        0,
        b"wherry_devices",
        0,
        _BPF_CGROUP_DEVICE,
    )
    program_fd = _bpf("load device program", directory, _BPF_PROG_LOAD, load)
    try:
        directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        os.close(program_fd)
        raise KernelError("open cgroup", directory, error.errno or 0) from error
    try:
        attach = struct.pack(
            "=IIIII", directory_fd, program_fd, _BPF_CGROUP_DEVICE, _BPF_F_ALLOW_MULTI, 0
        )
        _bpf("attach device program", directory, _BPF_PROG_ATTACH, attach)
    finally:
        os.close(directory_fd)
        os.close(program_fd)


def _bpf(step: str, path: str, command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    return syscalls.call(
        step,
        path,
        syscalls.BPF,
        ctypes.c_int(command),
        buffer,
        ctypes.c_uint(len(buffer)),
    )
