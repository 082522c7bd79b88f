"""How many connections a listener serves, and for how long one may keep it waiting.

Connections on which no request is under way are the ones that give way: when all places are taken,
the one that has waited longest is closed for the new one. Requests under way, streams and what was
taken over are never cut; when nothing but these is left, a new connection is answered 503.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from typing import Protocol

_LINGERING = 64  # connections that are refused at a time, and read why


@dataclass(frozen=True, slots=True)
class Limits:
    """``connections`` of one listener at a time; seconds for a head, and between requests."""

    connections: int = 4096
    head_seconds: float = 60.0
    rest_seconds: float = 600.0


def limits_of_process(listeners: int) -> Limits:
    """What fits into half of this process's descriptors, RLIMIT_NOFILE of getrlimit(2).

    A connection over TLS takes three: its own and both ends of the pair behind it.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = Limits().connections
    if soft != resource.RLIM_INFINITY:
        most = min(most, max(16, soft // (6 * max(1, listeners))))
    return Limits(connections=most)


class Connection(Protocol):
    """What takes a place at a gate."""

    def give_way(self) -> None:
        """Close now: nothing is under way."""


class Gate:
    """The connections of one listener."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._beginning: dict[Connection, float] = {}  # and since when, oldest first
        self._resting: dict[Connection, float] = {}  # between two requests, likewise
        self._busy: set[Connection] = set()
        self._lingering: set[object] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._beginning) + len(self._resting) + len(self._busy)

    def make_room(self) -> bool:
        """Whether one more can be served; the one that has waited longest may go for it."""
        if len(self) < self.limits.connections:
            return True
        waiting = [
            next(iter(places.items())) for places in (self._beginning, self._resting) if places
        ]
        if not waiting:
            return False
        oldest, _ = min(waiting, key=lambda place: place[1])
        self.leave(oldest)
        oldest.give_way()
        return True

    def beginning(self, connection: Connection) -> None:
        """A head is awaited or has begun to arrive; it must be complete in ``head_seconds``."""
        if connection in self._beginning:
            return
        self.leave(connection)
        loop = asyncio.get_running_loop()
        self._beginning[connection] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.limits.head_seconds, self._end_slow)

    def busy(self, connection: Connection) -> None:
        """A request is under way."""
        self.leave(connection)
        self._busy.add(connection)

    def resting(self, connection: Connection) -> None:
        """A request was answered, another may come."""
        if connection in self._busy:
            self._busy.discard(connection)
            self._resting[connection] = asyncio.get_running_loop().time()

    def is_resting(self, connection: Connection) -> bool:
        """Whether nothing was heard since the last answer."""
        return connection in self._resting

    def leave(self, connection: Connection) -> None:
        """The connection has ended or was taken over."""
        self._beginning.pop(connection, None)
        self._resting.pop(connection, None)
        self._busy.discard(connection)

    def may_linger(self, refused: object) -> bool:
        """Whether a connection without a place may stay until it has read so."""
        if len(self._lingering) < _LINGERING:
            self._lingering.add(refused)
        return refused in self._lingering

    def end_lingering(self, refused: object) -> None:
        """A connection without a place has ended."""
        self._lingering.discard(refused)

    def _end_slow(self) -> None:
        """Close those whose time for a head is over, and come again for the next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._beginning:
            oldest, since = next(iter(self._beginning.items()))
            wait = since + self.limits.head_seconds - loop.time()
            if wait > 0:
                self._timer = loop.call_later(wait, self._end_slow)
                return
            self.leave(oldest)
            oldest.give_way()
