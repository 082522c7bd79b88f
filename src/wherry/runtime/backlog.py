"""Output that a client has not taken yet: in memory first, then in a file without a name."""

from __future__ import annotations

import os
import tempfile
from collections import deque

MEMORY = 1 << 20
"""Bytes that are kept in memory."""
FILE = 1 << 30
"""Bytes that are kept in the file; with so much left untaken a client has to be waited for."""
_PIECE = 1 << 16


class Backlog:
    """A queue of bytes. ``directory`` is where its file may be, "" for none.

    The file holds what came after the memory was full, so order is kept; its space is given back
    when it has been read to its end.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._pieces: deque[bytes] = deque()
        self._in_memory = 0
        self._file = -1
        self._read = self._written = 0

    def __len__(self) -> int:
        return self._in_memory + self._written - self._read

    @property
    def full(self) -> bool:
        """Whether it should be given no more."""
        if self._directory:
            return self._written - self._read >= FILE
        return self._in_memory >= MEMORY

    def append(self, data: bytes) -> None:
        """Add to the end. Where the file cannot be written, memory takes it and it is full."""
        if self._directory and (self._written > self._read or self._in_memory >= MEMORY):
            try:
                self._store(data)
                return
            except OSError:
                self._recall()
        self._pieces.append(data)
        self._in_memory += len(data)

    def _store(self, data: bytes) -> None:
        if self._file == -1:
            with tempfile.TemporaryFile(dir=self._directory, buffering=0) as file:
                self._file = os.dup(file.fileno())
        view, at = memoryview(data), self._written
        while view:
            count = os.pwrite(self._file, view, at)
            view, at = view[count:], at + count
        self._written = at

    def _recall(self) -> None:
        """The disk is full: go on in memory, which then is as full as it may be."""
        self._directory = ""
        while self._written > self._read:
            self._load()

    def _load(self) -> None:
        size = min(_PIECE, self._written - self._read)
        data = os.pread(self._file, size, self._read)
        self._read += len(data)
        self._pieces.append(data)
        self._in_memory += len(data)
        if self._read == self._written:
            os.ftruncate(self._file, 0)
            self._read = self._written = 0

    def first(self) -> bytes:
        """Some bytes from the front; b"" when it is empty."""
        if not self._pieces and self._written > self._read:
            self._load()
        return self._pieces[0] if self._pieces else b""

    def taken(self, count: int) -> None:
        """Drop ``count`` bytes of what `first` gave."""
        self._in_memory -= count
        if count < len(self._pieces[0]):
            self._pieces[0] = self._pieces[0][count:]
        else:
            self._pieces.popleft()

    def close(self) -> None:
        """Drop everything."""
        self._pieces.clear()
        self._in_memory = self._read = self._written = 0
        if self._file != -1:
            os.close(self._file)
            self._file = -1
