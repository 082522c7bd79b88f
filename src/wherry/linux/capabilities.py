"""Capability sets by name, capabilities(7)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from wherry.linux import process
from wherry.linux.syscalls import checked, libc

NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
"""All capabilities; the index is the kernel's number."""

NUMBERS = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def mask(names: Iterable[str]) -> int:
    """The bit mask of capability names; names that this table does not know count nothing."""
    bits = 0
    for name in names:
        number = NUMBERS.get(name)
        if number is not None:
            bits |= 1 << number
    return bits


def names(bits: int) -> list[str]:
    """The names in a bit mask, in the kernel's order."""
    return [name for number, name in enumerate(NAMES) if bits >> number & 1]


def last_capability() -> int:
    """The highest capability number that the running kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def limit_bounding_set(keep: int, last: int) -> None:
    """Drop every capability up to number ``last`` that is not in ``keep``; needs CAP_SETPCAP."""
    for number in range(last + 1):
        if not keep >> number & 1:
            process.drop_bounding_capability(number)


def permitted() -> int:
    """The permitted set of the calling thread, capget(2)."""
    data = (_Data * 2)()
    header = _Header(_VERSION_3, 0)
    checked("get capabilities", "", libc.capget(ctypes.byref(header), ctypes.byref(data)))
    return int(data[0].permitted | data[1].permitted << 32)


def set_sets(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for the calling thread."""
    data = (_Data * 2)()
    for half in (0, 1):
        shift = 32 * half
        data[half].effective = effective >> shift & 0xFFFFFFFF
        data[half].permitted = permitted >> shift & 0xFFFFFFFF
        data[half].inheritable = inheritable >> shift & 0xFFFFFFFF
    header = _Header(_VERSION_3, 0)
    checked("set capabilities", "", libc.capset(ctypes.byref(header), ctypes.byref(data)))
