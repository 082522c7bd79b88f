"""Loading a compiled seccomp filter into the calling process, seccomp(2)."""

from __future__ import annotations

import ctypes

from wherry.linux.syscalls import checked, libc

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_INSTRUCTION = 8  # sizeof(struct sock_filter)


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load(program: bytes) -> None:
    """Install ``program`` (classic BPF). Needs no_new_privs or CAP_SYS_ADMIN."""
    header = _Program(len(program) // _INSTRUCTION, program)
    result = libc.prctl(
        ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(_MODE_FILTER), ctypes.byref(header), 0, 0
    )
    checked("load seccomp filter", "", result)
