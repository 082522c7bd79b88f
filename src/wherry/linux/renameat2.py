"""renameat2(2): a rename that replaces nothing."""

from __future__ import annotations

import ctypes
import errno
import os

from wherry.errors import KernelError
from wherry.linux import syscalls
from wherry.linux.syscalls import call, text

_NOREPLACE = 1
_UNKNOWN = (errno.EINVAL, errno.ENOSYS)


def rename_new(source: int, name: str | bytes, target: int, new: str | bytes) -> None:
    """Rename ``name`` of directory ``source`` to ``new`` of ``target``, where nothing may be.

    Raises OSError: FileExistsError when something is there. File systems that cannot do this in
    one step (NFS) look first.
    """
    try:
        call(
            "rename",
            os.fsdecode(name),
            syscalls.RENAMEAT2,
            ctypes.c_int(source),
            text(name),
            ctypes.c_int(target),
            text(new),
            ctypes.c_uint(_NOREPLACE),
        )
    except KernelError as error:
        if error.errno not in _UNKNOWN:
            raise OSError(error.errno, os.strerror(error.errno), os.fsdecode(new)) from None
        _look_first(source, name, target, new)


def _look_first(source: int, name: str | bytes, target: int, new: str | bytes) -> None:
    try:
        os.stat(new, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(new))
