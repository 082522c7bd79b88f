"""Rate limits, by key, in the memory of one process."""

from __future__ import annotations

import time
from collections import OrderedDict, deque

_KEYS = 20_000


class Limiter:
    """Allows ``count`` events in any ``seconds`` for each key."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._events: OrderedDict[str, deque[float]] = OrderedDict()

    def peek(self, key: str, now: float | None = None) -> bool:
        """Whether one more event would be allowed; counts nothing."""
        return len(self._recent(key, now)) < self._count

    def allow(self, key: str, now: float | None = None) -> bool:
        """Counts an event and says whether it was within the limit."""
        events = self._recent(key, now)
        if len(events) >= self._count:
            return False
        events.append(time.monotonic() if now is None else now)
        return True

    def _recent(self, key: str, now: float | None) -> deque[float]:
        moment = time.monotonic() if now is None else now
        events = self._events.setdefault(key, deque())
        self._events.move_to_end(key)
        while events and events[0] <= moment - self._seconds:
            events.popleft()
        if len(self._events) > _KEYS:
            self._events.popitem(last=False)
        return events
