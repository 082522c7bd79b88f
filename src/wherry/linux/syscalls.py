"""The one door to the C library: raw system calls whose failures name step and path.

Loaded as ``PyDLL``: the calls made here are short, and a thread switch inside ``clone3`` or
between ``setns`` and ``execve`` must not happen.
"""

from __future__ import annotations

import ctypes
import os
import platform

from wherry.errors import KernelError

libc = ctypes.PyDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long

# Numbers from 424 on are the same on every architecture (include/uapi/asm-generic/unistd.h).
OPEN_TREE = 428
MOVE_MOUNT = 429
FSOPEN = 430
FSCONFIG = 431
FSMOUNT = 432
CLONE3 = 435
CLOSE_RANGE = 436
OPENAT2 = 437
MOUNT_SETATTR = 442
QUOTACTL_FD = 443
FCHMODAT2 = 452

_OLD_NUMBERS = {
    "x86_64": {"keyctl": 250, "bpf": 321, "execveat": 322, "renameat2": 316, "rt_sigaction": 13},
    "aarch64": {"keyctl": 219, "bpf": 280, "execveat": 281, "renameat2": 276, "rt_sigaction": 134},
}
_HERE = _OLD_NUMBERS.get(platform.machine(), {})
KEYCTL = _HERE.get("keyctl", -1)
BPF = _HERE.get("bpf", -1)
RENAMEAT2 = _HERE.get("renameat2", -1)
RT_SIGACTION = _HERE.get("rt_sigaction", -1)
EXECVEAT = _HERE.get("execveat", -1)


def call(step: str, path: str, number: int, *arguments: object) -> int:
    """Make system call ``number``; return its result or raise `KernelError` (step, path)."""
    result = int(_syscall(ctypes.c_long(number), *arguments))
    if result == -1:
        raise KernelError(step, path, ctypes.get_errno())
    return result


def checked(step: str, path: str, result: int) -> int:
    """Turn the -1 of a C library function into `KernelError`; pass other results through."""
    if result == -1:
        raise KernelError(step, path, ctypes.get_errno())
    return result


def text(path: str | bytes) -> ctypes.c_char_p:
    """A path or option as the kernel wants it."""
    return ctypes.c_char_p(os.fsencode(path))
