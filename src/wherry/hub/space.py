"""Room on the disk: what blobs must leave free, and a reserve for work that frees space.

Blobs never take the last bytes of a disk, so that logins, deletions and the collector, which write
some kilobytes to the database, go on. When something else fills the disk, a file kept for that is
given up; it is made again as soon as there is room.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from wherry.errors import WherryError

_HEADROOM = 64 * 1024 * 1024
_HEADROOM_PART = 20  # at most a twentieth of the disk
_RESERVE = 16 * 1024 * 1024
_RESERVE_PART = 50
_NAME = "reserve"

_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT)
_FULL_SQLITE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    # The index of the write-ahead log is a shared file that has to grow.
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMMAP,
)
_FULL_POSTGRESQL = "53100"  # disk_full


class NoSpace(WherryError):
    """There is no room for what should be stored; deleting something helps."""

    def __init__(self, message: str = "no space left on the registry's disk") -> None:
        super().__init__(message)


def is_full(error: BaseException) -> bool:
    """Whether a failure of the file system or of a database means that a disk is full."""
    if isinstance(error, DBAPIError):
        cause = error.orig
        return (
            getattr(cause, "sqlite_errorcode", None) in _FULL_SQLITE
            or getattr(cause, "sqlstate", None) == _FULL_POSTGRESQL
        )
    return isinstance(error, OSError) and error.errno in _FULL_ERRNO


def room(folder: Path) -> int:
    """Bytes that blobs in ``folder`` may still take; negative when they took too many."""
    disk = os.statvfs(folder)
    size, free = disk.f_frsize * disk.f_blocks, disk.f_frsize * disk.f_bavail
    return free - min(_HEADROOM, size // _HEADROOM_PART)


class Reserve:
    """A file of some megabytes in ``folder``, to be given up when the disk is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _NAME

    def hold(self) -> bool:
        """Makes the file, unless it is there or there is no room; whether it is there."""
        if self._path.exists():
            return True
        disk = os.statvfs(self._folder)
        size = min(_RESERVE, disk.f_frsize * disk.f_blocks // _RESERVE_PART)
        if room(self._folder) < size:
            return False
        partial = self._folder / f"{_NAME}.{secrets.token_hex(4)}"
        try:
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.posix_fallocate(handle, 0, size)
            finally:
                os.close(handle)
            os.rename(partial, self._path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            if is_full(error):
                return False
            raise
        return True

    def release(self) -> bool:
        """Gives the file up; False when it was given up before."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
            return True
        return False
