"""Making changes of a file system durable."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
"""Unlike ``syscalls.libc`` this lets other threads run: flushing takes long."""


def sync_file_system(path: str) -> None:
    """Write everything dirty of the file system that holds ``path`` (syncfs(2))."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.syncfs(ctypes.c_int(descriptor)) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the entries of directory ``path`` durable (fsync(2), "Notes")."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_KEPT_CLUSTERS = 4096


def writable_bytes(found: os.statvfs_result) -> int:
    """What root may still write to a file system.

    ext4 never gives data its last 2 %, at most 4,096 clusters (``ext4_calculate_resv_clusters``);
    they count as free.
    """
    kept = min(found.f_blocks // 50, _KEPT_CLUSTERS)
    return max(0, found.f_bfree - kept) * found.f_frsize


_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE


def allocate(descriptor: int, size: int, *, keep_size: bool) -> None:
    """Give a file blocks for its first ``size`` bytes; ``keep_size``: also beyond its end.

    Raises OSError, EOPNOTSUPP where the file system cannot (fallocate(2)).
    """
    mode = _KEEP_SIZE if keep_size else 0
    if _libc.fallocate64(descriptor, mode, ctypes.c_int64(0), ctypes.c_int64(size)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
