"""fchmodat2(2): the mode of what an O_PATH descriptor stands for."""

from __future__ import annotations

import ctypes
import errno
import os

from wherry.errors import KernelError
from wherry.linux import syscalls
from wherry.linux.syscalls import call, text

_AT_EMPTY_PATH = 0x1000


def change_mode(descriptor: int, mode: int) -> None:
    """Set the mode of any file but a symbolic link. Raises OSError.

    Before Linux 6.6 this goes through ``/proc/self/fd``, which must be there then.
    """
    try:
        call(
            "chmod",
            "",
            syscalls.FCHMODAT2,
            ctypes.c_int(descriptor),
            text(""),
            ctypes.c_uint(mode),
            ctypes.c_uint(_AT_EMPTY_PATH),
        )
    except KernelError as error:
        if error.errno != errno.ENOSYS:
            raise OSError(error.errno, os.strerror(error.errno)) from None
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
