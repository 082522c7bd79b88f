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
