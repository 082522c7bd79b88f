"""The session keyring, keyctl(2)."""

from __future__ import annotations

import ctypes

from wherry.errors import KernelError
from wherry.linux import syscalls

_JOIN_SESSION_KEYRING = 1
_UNSUPPORTED = {38, 1}  # ENOSYS: no keyrings in this kernel; EPERM: an outer sandbox forbids them


def join_new_session(name: str) -> None:
    """Leave the inherited session keyring for a new one; does nothing where there are none."""
    try:
        syscalls.call(
            "join session keyring",
            name,
            syscalls.KEYCTL,
            ctypes.c_int(_JOIN_SESSION_KEYRING),
            syscalls.text(name),
        )
    except KernelError as error:
        if error.errno not in _UNSUPPORTED:
            raise
