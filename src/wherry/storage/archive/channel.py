"""Bytes from one thread to another, with a bound on what waits between all of them."""

from __future__ import annotations

import threading
from collections import deque


class Budget:
    """The bytes that may wait in all channels that share it.

    One writer fills channels one after the other, so that a reader which waits has all it needs
    as soon as the writer gets on: the bound cannot block for ever.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting = 0
        self.changed = threading.Condition()


class Channel:
    """What a writing thread gives, a reading thread gets, in order."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._pieces: deque[memoryview] = deque()
        self._ended = False
        self._failure: Exception | None = None
        self._abandoned = False

    @property
    def full(self) -> bool:
        """Whether the next `write` waits."""
        return not self._abandoned and self._budget.waiting >= self._budget.limit

    def write(self, data: bytes) -> bool:
        """Add a piece, waiting for room; False when the reader has gone."""
        with self._budget.changed:
            self._budget.changed.wait_for(lambda: not self.full)
            if self._abandoned:
                return False
            self._pieces.append(memoryview(data))
            self._budget.waiting += len(data)
            self._budget.changed.notify_all()
            return True

    def finish(self, failure: Exception | None = None) -> None:
        """No more comes; with ``failure`` the reader gets it raised after the last piece."""
        with self._budget.changed:
            self._ended = True
            self._failure = self._failure or failure
            self._budget.changed.notify_all()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most ``size``; empty at the end."""
        with self._budget.changed:
            self._budget.changed.wait_for(lambda: self._pieces or self._ended)
            if not self._pieces:
                if self._failure is not None:
                    raise self._failure
                return b""
            piece = self._pieces.popleft()
            if 0 <= size < len(piece):
                self._pieces.appendleft(piece[size:])
                piece = piece[:size]
            self._budget.waiting -= len(piece)
            self._budget.changed.notify_all()
            return bytes(piece)

    def abandon(self) -> None:
        """The reader goes: what waits is dropped, and writing says so."""
        with self._budget.changed:
            self._abandoned = True
            self._budget.waiting -= sum(map(len, self._pieces))
            self._pieces.clear()
            self._budget.changed.notify_all()
