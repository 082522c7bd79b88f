"""Between asynchronous streams and synchronous work in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

_AHEAD = 8
"""Pieces that a producer may be ahead of its consumer."""


class ThreadReader:
    """An asynchronous stream of bytes as a file for a thread: it has ``read``."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        """Make it on the event loop; read it from one other thread."""
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes (all when negative), b"" at the end."""
        if size < 0:
            parts = [self._buffer]
            self._buffer = b""
            while part := self._next():
                parts.append(part)
            return b"".join(parts)
        if not self._buffer:
            self._buffer = self._next()
        part, self._buffer = self._buffer[:size], self._buffer[size:]
        return part

    def _next(self) -> bytes:
        if self._ended:
            return b""
        chunk = asyncio.run_coroutine_threadsafe(self._following(), self._loop).result()
        self._ended = not chunk
        return chunk

    async def _following(self) -> bytes:
        async for chunk in self._chunks:
            if chunk:
                return bytes(chunk)
        return b""


async def from_thread(make: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
    """What the iterator of ``make`` yields, which runs in a thread a few items ahead.

    The iterator is closed when the consumer stops early.
    """
    iterator = await asyncio.to_thread(make)

    def batch() -> list[T]:
        items: list[T] = []
        for item in iterator:
            items.append(item)
            if len(items) >= _AHEAD:
                break
        return items

    step: asyncio.Future[list[T]] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(batch))
            items = await asyncio.shield(step)
            if not items:
                return
            for item in items:
                yield item
    finally:
        await asyncio.shield(asyncio.ensure_future(_closed(iterator, step)))


async def _closed(iterator: Iterator[T], step: asyncio.Future[list[T]] | None) -> None:
    """Close ``iterator`` when the thread that is in it, if any, has come out."""
    if step is not None:
        await asyncio.wait({step})
        if not step.cancelled():
            step.exception()  # told to the consumer, if there still is one
    close = getattr(iterator, "close", None)
    if close is not None:
        await asyncio.to_thread(close)
