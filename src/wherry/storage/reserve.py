"""Room that is kept for the state store, so that it can be written when a disk is full.

Two kinds. Blocks that the store's own files already have beyond their ends: nobody else can take
those. And a file of nothing, which is given up when that is not enough, or when an engine opens on
a full disk. Both are made again when there is room.
"""

from __future__ import annotations

import os
from contextlib import suppress

from wherry.linux.files import allocate

LOW = 4 << 20
"""Free bytes from which on the reserve counts."""
_LOG = 4 << 20
"""Bytes of the write-ahead log: what SQLite lets it grow to before it begins anew (1,000 pages)."""
_LOG_LEFT = 1 << 20
_GROWTH = 1 << 20
_LARGEST = 8 << 20
_SHARE = 50  # of a small disk the file takes so small a part
_PLENTY = 4  # times the file's size must be free before it is made


def free_bytes(path: str) -> int:
    """What root may still write on the file system of ``path``."""
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize


class Reserve:
    """The reserve of the store at ``path``."""

    def __init__(self, path: str) -> None:
        self._store = path
        self._folder = os.path.dirname(path) or "."
        self._file = f"{path}.reserve"
        found = os.statvfs(self._folder)
        self._size = min(_LARGEST, found.f_blocks * found.f_frsize // _SHARE)

    def before_opening(self) -> None:
        """Make room for opening the store, or let its file have blocks to grow into.

        Only before: closing any descriptor of the file would drop SQLite's locks,
        https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
        """
        if free_bytes(self._folder) < max(LOW, self._size):
            self.give_up()
        else:
            _extend(self._store, _GROWTH)

    def renew(self) -> None:
        """Take the room again that was given up, as far as there is plenty of it."""
        if free_bytes(self._folder) < _PLENTY * self._size:
            return
        log = f"{self._store}-wal"
        with suppress(FileNotFoundError):
            _extend(log, max(_LOG_LEFT, _LOG - os.stat(log).st_size))
        if os.path.exists(self._file):
            return
        with suppress(OSError), open(self._file, "xb") as file:
            allocate(file.fileno(), self._size, keep_size=False)

    def secure(self) -> None:
        """Before a change: see to it that the write-ahead log has room for it, or get it some."""
        if free_bytes(self._folder) >= LOW:
            return
        log = f"{self._store}-wal"
        try:
            found = os.stat(log)
        except FileNotFoundError:
            self.give_up()
            return
        if found.st_blocks * 512 - found.st_size < _LOG_LEFT and self.give_up():
            _extend(log, 2 * _LOG_LEFT)

    def give_up(self) -> bool:
        """Give the file's room back to the disk; whether there was one."""
        try:
            os.unlink(self._file)
        except OSError:
            return False
        return True


def _extend(path: str, size: int) -> None:
    """Let a file have blocks for ``size`` bytes beyond its end, where its file system can."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            allocate(fd, os.fstat(fd).st_size + size, keep_size=True)
        finally:
            os.close(fd)
