"""Room that is kept for the state store, so that it can be written when a disk is full.

Two kinds. Blocks that the store's own files already have beyond their ends: nobody else can take
those. And a file of nothing, which is given up when that is not enough, or when an engine opens on
a full disk. Both are made again when there is room.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from wherry.linux.files import allocate, writable_bytes

LOW = 4 << 20
"""Free bytes from which on the reserve counts."""
_LOG = 4 << 20
"""Bytes of the write-ahead log: what SQLite lets it grow to before it begins anew (1,000 pages)."""
_LOG_LEFT = 1 << 20
_GROWTH = 1 << 20
_INDEX = 32 << 10
_FOR_INDEX = 1 << 20
_AGAIN = 1.0  # seconds
_LARGEST = 8 << 20
_SHARE = 50  # of a small disk the file takes so small a part
_PLENTY = 4  # times the file's size must be free before it is made


class Reserve:
    """The reserve of the store at ``path``."""

    def __init__(self, path: str) -> None:
        self._store = path
        self._folder = os.path.dirname(path) or "."
        self._file = f"{path}.reserve"
        found = os.statvfs(self._folder)
        self._index = -1
        self._tried = 0.0
        self._size = min(_LARGEST, found.f_blocks * found.f_frsize // _SHARE)

    def _free(self) -> int:
        return writable_bytes(os.statvfs(self._folder))

    def before_opening(self) -> bool:
        """Make room for opening the store, or let its file have blocks to grow into.

        Returns False when there is no room even for the index of the write-ahead log, which is
        memory that the file ``-shm`` stands for: to write to it would be SIGBUS, mmap(2). Only
        before: closing any descriptor of the file would drop SQLite's locks,
        https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
        """
        if self._free() < max(LOW, self._size):
            self.give_up()
        else:
            _extend(self._store, _GROWTH)
        return self._free() >= _FOR_INDEX

    def after_opening(self, *, indexed: bool) -> None:
        """Let log and index have their blocks at once: closing it the last time gave them back.

        Where blocks are small SQLite asks for some of the index's only.
        """
        if indexed:
            with suppress(OSError):
                # Stays open with the store: its locks are on this file, too.
                self._index = os.open(f"{self._store}-shm", os.O_RDWR | os.O_CLOEXEC)
                allocate(self._index, _INDEX, keep_size=True)
        _extend(f"{self._store}-wal", _LOG)

    def close(self) -> None:
        """After the store itself was closed: what its log held is kept for the next opening."""
        if self._index != -1:
            os.close(self._index)
            self._index = -1
        self._take()

    def renew(self) -> None:
        """Take the room again that was given up, as far as there is plenty of it."""
        if self._free() < _PLENTY * self._size:
            return
        log = f"{self._store}-wal"
        with suppress(FileNotFoundError):
            _extend(log, max(_LOG_LEFT, _LOG - os.stat(log).st_size))
        self._take()

    def secure(self) -> None:
        """Before a change: see to it that the write-ahead log has room for it, or get it some."""
        if self._free() >= LOW:
            return
        log = f"{self._store}-wal"
        try:
            found = os.stat(log)
        except FileNotFoundError:
            self.give_up()
            return
        if found.st_blocks * 512 - found.st_size >= _LOG_LEFT:
            return
        now = time.monotonic()
        if self.give_up() or now - self._tried > _AGAIN:
            self._tried = now
            _extend(log, 2 * _LOG_LEFT)

    def _take(self) -> None:
        with suppress(OSError), open(self._file, "ab") as file:
            allocate(file.fileno(), self._size, keep_size=False)

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
