"""Project quotas: one limit for all files below a directory, on ext4 and xfs.

ioctl_xfs_fsgetxattr(2), quotactl(2); structures of include/uapi/linux/fs.h and quota.h. The file
system must be mounted with ``prjquota`` (ext4 also needs its features project and quota).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

from wherry.errors import KernelError
from wherry.linux import syscalls

_GET_ATTRIBUTES = 0x801C581F
_SET_ATTRIBUTES = 0x401C5820
_ATTRIBUTES = struct.Struct("IIIII8x")
"""struct fsxattr: flags, extent size, extents, project, copy-on-write extent size."""
_INHERIT = 0x200
_LIMITS = struct.Struct("8QI4x")
"""struct if_dqblk; limits of blocks are in KiB, space in bytes."""
_BLOCK_LIMITS = 1
_STATE_BYTES = 160
_PROJECT = 2
_GET_LIMITS, _SET_LIMITS, _GET_STATE = 0x800007, 0x800008, 0x5805
_ENFORCED = 1 << 5


def enforced(path: str) -> bool:
    """Whether the file system that holds ``path`` keeps limits of projects."""
    state = bytearray(_STATE_BYTES)
    try:
        _control("read state of quotas", path, _GET_STATE, 0, state)
    except KernelError:
        return False
    return bool(struct.unpack_from("=bxH", state)[1] & _ENFORCED)


def project_of(path: str) -> int:
    """The project that a file or directory is counted to; 0 when there is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return int(_attributes(descriptor)[3])
    except OSError:  # the file system knows no projects
        return 0
    finally:
        os.close(descriptor)


def assign(directory: str, project: int) -> None:
    """Count ``directory`` and all that will be made in it to ``project``."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags, extent, extents, _, copied = _attributes(descriptor)
        packed = _ATTRIBUTES.pack(flags | _INHERIT, extent, extents, project, copied)
        fcntl.ioctl(descriptor, _SET_ATTRIBUTES, packed)
    except OSError as error:
        raise KernelError("assign project", directory, error.errno or 5) from error
    finally:
        os.close(descriptor)


def limit(path: str, project: int, size: int) -> None:
    """Let the files of ``project`` hold at most ``size`` bytes (0: no limit), in whole KiB."""
    blocks = -(-size // 1024)
    limits = bytearray(_LIMITS.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, _BLOCK_LIMITS))
    _control("set quota", path, _SET_LIMITS, project, limits)


def usage(path: str, project: int) -> tuple[int, int]:
    """Bytes that the files of ``project`` hold, and their limit."""
    limits = bytearray(_LIMITS.size)
    try:
        _control("read quota", path, _GET_LIMITS, project, limits)
    except KernelError as error:
        if error.errno in (2, 3):  # ENOENT, ESRCH: xfs and ext4 know nothing of the project yet
            return 0, 0
        raise
    hard, _, used = _LIMITS.unpack(limits)[:3]
    return used, hard * 1024


def _attributes(descriptor: int) -> tuple[int, ...]:
    return _ATTRIBUTES.unpack(fcntl.ioctl(descriptor, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))


def _control(step: str, path: str, command: int, project: int, buffer: bytearray) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        syscalls.call(
            step,
            path,
            syscalls.QUOTACTL_FD,
            ctypes.c_uint(descriptor),
            ctypes.c_uint(command << 8 | _PROJECT),
            ctypes.c_uint(project),
            (ctypes.c_char * len(buffer)).from_buffer(buffer),
        )
    finally:
        os.close(descriptor)
