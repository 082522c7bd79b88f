"""A small event loop: epoll(7) and timers; asyncio would double the porter's memory.

All containers' ports and names hang on it, so nothing that a callback raises ends it.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
import traceback
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
ERROR, HANGUP = select.EPOLLERR, select.EPOLLHUP  # reported whether asked for or not
_REST = 1.0  # seconds that a descriptor whose handler failed is left alone


class _Watch:
    """What happens when a descriptor is ready."""

    __slots__ = ("events", "handler", "resting", "since")

    def __init__(self, events: int, handler: Callable[[int], None], since: int) -> None:
        self.events = events
        self.handler = handler
        self.since = since
        self.resting = False


class Loop:
    """Calls functions when descriptors are ready or when time has come."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._round = 0
        self.running = True

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(events)`` while ``fd`` is ready; replaces an earlier watch.

        Errors and hang-ups are told always. Raises OSError when the kernel has no room for it.
        """
        known = self._watches.get(fd)
        if known is None or known.resting:
            self._epoll.register(fd, events)
            self._watches[fd] = _Watch(events, handler, self._round)
            return
        if known.events != events:
            self._epoll.modify(fd, events)
        known.events, known.handler = events, handler

    def forget(self, fd: int) -> None:
        """Stop watching ``fd``; call this before it is closed."""
        known = self._watches.pop(fd, None)
        if known is not None and not known.resting:
            self._epoll.unregister(fd)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call ``function`` once after ``seconds``."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), function))

    def run(self) -> None:
        """Serve until ``running`` is False."""
        while self.running:
            wait = -1.0
            if self._timers:
                wait = max(0.0, self._timers[0][0] - time.monotonic())
            self._round += 1
            for fd, events in self._epoll.poll(wait):
                watch = self._watches.get(fd)
                # What is told of a number is not meant for one who got the number meanwhile.
                if watch is not None and watch.since != self._round:
                    self._call(fd, watch, events)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                try:
                    heapq.heappop(self._timers)[2]()
                except Exception:
                    traceback.print_exc()

    def _call(self, fd: int, watch: _Watch, events: int) -> None:
        try:
            watch.handler(events)
        except Exception:
            traceback.print_exc()
            if self._watches.get(fd) is watch:
                self._epoll.unregister(fd)
                watch.resting = True
                self.later(_REST, lambda: self._resume(fd, watch))

    def _resume(self, fd: int, watch: _Watch) -> None:
        if self._watches.get(fd) is watch:
            del self._watches[fd]
            self.watch(fd, watch.events, watch.handler)
