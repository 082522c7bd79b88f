"""Streams made in threads, and consumers that leave."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from wherry.engine.bridging import from_thread


async def test_a_consumer_that_leaves_while_the_thread_works_closes_the_iterator() -> None:
    inside, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            yield b"first"
            inside.set()
            go_on.wait()
            yield b"second"
        finally:
            closed.set()

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

    async def consume() -> None:
        async with contextlib.aclosing(from_thread(pieces)) as stream:
            async for _ in stream:
                pass

    consumer = asyncio.create_task(consume())
    await asyncio.to_thread(inside.wait)
    consumer.cancel()
    for _ in range(3):  # whatever the leaving consumer gives to a thread has run by then
        await asyncio.to_thread(threading.get_ident)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await asyncio.to_thread(closed.wait)
    assert failures == []


async def test_all_pieces_come_and_a_failure_reaches_the_consumer() -> None:
    def pieces() -> Iterator[int]:
        yield from range(20)
        raise ZeroDivisionError

    assert [piece async for piece in from_thread(lambda: iter(range(20)))] == list(range(20))
    with pytest.raises(ZeroDivisionError):
        async for _ in from_thread(pieces):
            pass
