"""Bytes in, in pieces: exact reads and read-ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from wherry.errors import InvalidParameter

CHUNK = 1 << 18
READ_AHEAD = 8
"""Chunks that wait between two threads: the memory that a pipeline stage may hold."""


class Readable(Protocol):
    """The one method that is asked of a source of bytes."""

    def read(self, size: int = -1, /) -> bytes: ...


class Hasher(Protocol):
    """What hashlib's objects have in common."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def chunks_of(source: Readable, size: int = CHUNK) -> Iterator[bytes]:
    """The bytes of ``source`` until its end."""
    while chunk := source.read(size):
        yield chunk


class ByteStream:
    """A forward-only stream made of chunks, read by exact counts without copying more than needed.

    ``what`` names the stream in errors.
    """

    def __init__(self, chunks: Iterable[bytes], what: str = "archive") -> None:
        self._chunks = iter(chunks)
        self._what = what
        self._view = memoryview(b"")
        self.position = 0

    def _fill(self) -> bool:
        while not self._view:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._view = memoryview(chunk)
        return True

    def at_end(self) -> bool:
        """Whether no byte is left."""
        return not self._fill()

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes; InvalidParameter when the stream ends before."""
        if len(self._view) >= count:
            piece = bytes(self._view[:count])
            self._view = self._view[count:]
            self.position += count
            return piece
        return b"".join(self.pieces(count))

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Exactly ``count`` bytes as views, valid until the next read."""
        while count > 0:
            if not self._fill():
                raise InvalidParameter(f"{self._what} is truncated: it ends {count} bytes early")
            piece = self._view[:count]
            self._view = self._view[len(piece) :]
            count -= len(piece)
            self.position += len(piece)
            yield piece

    def rest(self) -> Iterator[memoryview]:
        """All bytes that are left."""
        while self._fill():
            piece, self._view = self._view, memoryview(b"")
            self.position += len(piece)
            yield piece

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes (all when negative), as a file's read does."""
        if size < 0:
            return b"".join(self.rest())
        if not size or not self._fill():
            return b""
        return self.take(min(size, len(self._view)))


class ReadAhead:
    """Runs an iterator of chunks in a thread of its own, at most ``READ_AHEAD`` chunks ahead.

    Decompression and hashing release the interpreter lock, so they overlap with the consumer's
    file system calls. Errors of the producer are raised in the consumer. Use as a context
    manager: leaving it stops the thread.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._source = chunks
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(READ_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="read-ahead", daemon=True)

    def _produce(self) -> None:
        last: BaseException | None = None
        try:
            for chunk in self._source:
                if not self._put(chunk):
                    return
        except BaseException as error:
            last = error
        self._put(last)

    def _put(self, item: bytes | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._thread.join()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item


def hashed(chunks: Iterable[bytes], *update: Callable[[bytes], None]) -> Iterator[bytes]:
    """Pass ``chunks`` through and show each to the ``update`` functions."""
    for chunk in chunks:
        for function in update:
            function(chunk)
        yield chunk
