"""A small poll loop: descriptors with callbacks, and timers."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT
URGENT = select.POLLPRI
_ENDED = select.POLLHUP | select.POLLERR

Callback = Callable[[], None]


class Loop:
    """Calls back when descriptors are ready. Single-threaded; callbacks must not block.

    ``on_error`` hears of a callback that raised; the loop goes on.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._poll = select.poll()
        self._callbacks: dict[tuple[int, int], Callback] = {}
        self._events: dict[int, int] = {}
        self._timers: list[tuple[float, Callback]] = []
        self._running = True

    def watch(self, fd: int, event: int, callback: Callback) -> None:
        """Call back whenever ``event`` (one bit) is there on ``fd``, or ``fd`` has ended."""
        self._callbacks[fd, event] = callback
        self._events[fd] = self._events.get(fd, 0) | event
        self._poll.register(fd, self._events[fd])

    def unwatch(self, fd: int, event: int | None = None) -> None:
        """Undo `watch`, for one event or all; what is not watched is no error."""
        for key in [k for k in self._callbacks if k[0] == fd and event in (None, k[1])]:
            del self._callbacks[key]
            self._events[fd] &= ~key[1]
        if fd in self._events:
            if self._events[fd]:
                self._poll.modify(fd, self._events[fd])
            else:
                del self._events[fd]
                self._poll.unregister(fd)

    def later(self, seconds: float, callback: Callback) -> None:
        """Call back once, after a while."""
        self._timers.append((time.monotonic() + seconds, callback))
        self._timers.sort(key=lambda timer: timer[0])

    def stop(self) -> None:
        """Return from `run` after the current callback."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        while self._running:
            self._turn()

    def _turn(self) -> None:
        wait = None
        if self._timers:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) * 1000 + 1
        for fd, events in self._poll.poll(wait):
            for event in (READ, WRITE, URGENT):
                if events & (event | _ENDED):
                    callback = self._callbacks.get((fd, event))
                    if callback:
                        self._call(callback)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._call(self._timers.pop(0)[1])

    def _call(self, callback: Callback) -> None:
        try:
            callback()
        except Exception as error:
            self._on_error(error)
