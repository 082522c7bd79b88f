"""Threads that talk to the kernel: one for netlink, one for nftables, each call in its order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Worker:
    """A thread that runs blocking work off the event loop, one piece after the other."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``; work that has begun is finished even when nobody waits."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def submit(self, work: Callable[[], None]) -> None:
        """Have ``work`` done soon; nobody waits, and a failure is logged."""

        def guarded() -> None:
            try:
                work()
            except Exception:
                _log.exception("background work of the network failed")

        self._pool.submit(guarded)

    def close(self) -> None:
        """Finish what was begun and end the thread."""
        self._pool.shutdown(wait=True)


class Batch(Generic[T]):
    """Does slow work for many at once: what comes while a batch runs makes up the next one."""

    def __init__(self, worker: Worker, work: Callable[[list[T]], None]) -> None:
        self._worker = worker
        self._work = work
        self._waiting: list[T] = []
        self._lock = asyncio.Lock()

    async def do(self, item: T) -> None:
        """Have ``work`` done for ``item``, together with others; raises what it raised."""
        self._waiting.append(item)
        async with self._lock:
            if item not in self._waiting:
                return
            batch, self._waiting = self._waiting, []
            await self._worker.run(lambda: self._work(batch))
