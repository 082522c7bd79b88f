"""How many descriptors relays may take, so that names and orders always have some.

Whoever can reach a published port decides how many connections there are. The kernel gives the
lowest free number, so relays that take no number from ``wall`` on leave all others free; and a
listener may have twice as many connections as there are left for all (the dynamic threshold of
shared packet buffers: Choudhury and Hahne, 1998), so that one that is flooded leaves room for
those of other containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable

from wherry.network.porter.loop import Loop

_RESERVE = 4096
_PIPES = 256
_PIPE_SIZE = 1 << 18


class Share:
    """The relays' part of the process's descriptors; ``limit`` is RLIMIT_NOFILE."""

    def __init__(self, loop: Loop, limit: int) -> None:
        self._loop = loop
        self.wall = limit - min(_RESERVE, limit // 4)
        self.pipes = Pipes(min(_PIPES, self.wall // 16), self.wall)
        self._capacity = (self.wall - 2 * self.pipes.most) // 2
        self._connections = 0
        self._waiting: dict[object, Callable[[], None]] = {}
        self._waking = False

    def allows(self, own: int) -> bool:
        """Whether a listener with ``own`` connections may have one more."""
        return own < 2 * (self._capacity - self._connections)

    def take(self) -> None:
        """Count a connection."""
        self._connections += 1

    def give(self) -> None:
        """A connection has ended: those that wait may look again."""
        self._connections -= 1
        if self._waiting and not self._waking:
            self._waking = True
            self._loop.later(0, self._wake)

    def wait(self, who: object, wake: Callable[[], None]) -> None:
        """Call ``wake`` once when a connection has ended."""
        self._waiting[who] = wake

    def leave(self, who: object) -> None:
        """Do not wait any more."""
        self._waiting.pop(who, None)

    def _wake(self) -> None:
        self._waking = False
        waiting, self._waiting = self._waiting, {}
        for wake in waiting.values():
            wake()


class Pipes:
    """Empty pipes for splice(2), at most ``most`` at a time, all numbers below ``wall``.

    A relay needs one only from a read to the write behind it, and keeps it while the receiver is
    full; so a few serve all.
    """

    def __init__(self, most: int, wall: int) -> None:
        self.most = most
        self._wall = wall
        self._free: list[tuple[int, int]] = []
        self._made = 0

    def take(self) -> tuple[int, int] | None:
        """An empty pipe (read end, write end), or None when there is none to be had."""
        if self._free:
            return self._free.pop()
        if self._made >= self.most:
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self._made += 1
        with contextlib.suppress(OSError):  # beyond the user's share of pipe memory (pipe(7))
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        if max(pipe) >= self._wall:
            self.discard(pipe)
            return None
        return pipe

    def give(self, pipe: tuple[int, int]) -> None:
        """Give an empty pipe back."""
        self._free.append(pipe)

    def discard(self, pipe: tuple[int, int]) -> None:
        """Close a pipe that something is left in."""
        os.close(pipe[0])
        os.close(pipe[1])
        self._made -= 1
