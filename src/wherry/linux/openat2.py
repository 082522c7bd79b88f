"""openat2(2): opening with rules for the way there."""

from __future__ import annotations

import ctypes
import errno
import os

from wherry.errors import KernelError
from wherry.linux import syscalls
from wherry.linux.syscalls import call, text

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

_ATTEMPTS = 32


class _OpenHow(ctypes.Structure):
    """struct open_how."""

    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


def openat2(directory: int, path: str | bytes, flags: int, mode: int, resolve: int) -> int:
    """Open ``path`` (at most PATH_MAX bytes) from ``directory``, close-on-exec.

    Raises KernelError. EAGAIN is tried again: a rename elsewhere made the kernel unsure of "..".
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_ATTEMPTS):
        try:
            return call(
                "open",
                os.fsdecode(path),
                syscalls.OPENAT2,
                ctypes.c_int(directory),
                text(path),
                ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)),
            )
        except KernelError as error:
            if error.errno != errno.EAGAIN:
                raise
            last = error
    raise last
