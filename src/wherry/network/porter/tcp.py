"""Relays TCP connections from a listening socket on the host to a container's port.

A connection costs two descriptors. Bytes move by splice(2), inside the kernel, through a pipe that
is kept only while the receiver is full.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable

from wherry.network.porter.loop import ERROR, HANGUP, READ, WRITE, Loop
from wherry.network.porter.share import Pipes, Share

_CHUNK = 1 << 20
_COPIED = 1 << 14  # bytes that go through memory at once when there is no pipe
_TURN = 16  # chunks of one connection before others have their turn
_ACCEPTED = 64  # connections of one listener before others have their turn
_SPLICE = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 0.5  # seconds until the kernel is asked again for what it had no room for
# A peer that vanished without a word is noticed after three minutes.
_KEEP_ALIVE = (
    (socket.TCP_KEEPIDLE, 90),
    (socket.TCP_KEEPINTVL, 15),
    (socket.TCP_KEEPCNT, 6),
)


class TcpRelay:
    """Accepts on ``listener`` and connects every client to ``target``.

    With too many connections the rest waits in the kernel's queue until some have ended.
    """

    def __init__(
        self, loop: Loop, share: Share, listener: socket.socket, target: tuple[str, int]
    ) -> None:
        self._loop = loop
        self._share = share
        self._listener = listener
        self.target = target
        self._connections: set[_Connection] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def _accept(self, _: int) -> None:
        for _ in range(_ACCEPTED):
            if not self._share.allows(len(self._connections)):
                self._loop.forget(self._listener.fileno())
                self._share.wait(self, self._resume)
                return
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _SCARCE:
                    self._pause()
                return
            if client.fileno() >= self._share.wall:
                client.close()
                self._pause()
                return
            self._welcome(client)

    def _welcome(self, client: socket.socket) -> None:
        connection = _Connection(self._loop, self._share.pipes, client, self._ended)
        self._connections.add(connection)
        self._share.take()
        connection.start(self.target)

    def _ended(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._share.give()

    def _pause(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._loop.later(_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), READ, self._accept)

    def close(self) -> None:
        """Give the port back and end all connections."""
        self._share.leave(self)
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for connection in list(self._connections):
            connection.close()


class _Connection:
    """A client and its connection to the container, with a flow in each direction."""

    __slots__ = ("_client", "_down", "_ended", "_loop", "_pipes", "_server", "_up")

    def __init__(
        self,
        loop: Loop,
        pipes: Pipes,
        client: socket.socket,
        ended: Callable[[_Connection], None],
    ) -> None:
        self._loop = loop
        self._pipes = pipes
        self._client = client
        self._server: socket.socket | None = None
        self._ended = ended

    def start(self, target: tuple[str, int]) -> None:
        """Connect to the container; the client waits meanwhile."""
        try:
            family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
            self._server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._client.setblocking(False)
            for end in (self._client, self._server):
                _set_up(end)
            code = self._server.connect_ex(target)
            if code not in (0, errno.EINPROGRESS):
                self.close()
                return
            self._loop.watch(self._server.fileno(), WRITE, self._connected)
            self._loop.watch(self._client.fileno(), 0, self._gone)
        except OSError:
            self.close()

    def _gone(self, _: int) -> None:
        """The client has reset its connection before the container answered."""
        self.close()

    def _connected(self, _: int) -> None:
        assert self._server is not None
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            return
        self._up = _Flow(self._pipes, self._client, self._server)
        self._down = _Flow(self._pipes, self._server, self._client)
        self._work()

    def _client_ready(self, events: int) -> None:
        self._work(self._client, events)

    def _server_ready(self, events: int) -> None:
        self._work(self._server, events)

    def _work(self, end: socket.socket | None = None, events: int = 0) -> None:
        """Move what can be moved, then wait for exactly what is missing."""
        assert self._server is not None
        up, down = self._up, self._down
        try:
            up.move()
            down.move()
            over = up.done and down.done
            if over or (events & ERROR and end is not None and _failed(end)):
                self.close()
                return
            hung_up = end if events & HANGUP else None
            self._wait(
                *(self._client, up.wants_source, down.wants_sink),
                *(self._client is hung_up, self._client_ready),
            )
            self._wait(
                *(self._server, down.wants_source, up.wants_sink),
                *(self._server is hung_up, self._server_ready),
            )
        except OSError:
            self.close()

    def _wait(
        self,
        end: socket.socket,
        read: bool,
        write: bool,
        hung_up: bool,
        handler: Callable[[int], None],
    ) -> None:
        events = (READ if read else 0) | (WRITE if write else 0)
        if events or not hung_up:
            # Without events, too: a reset is told then, and the other side does not wait for ever.
            self._loop.watch(end.fileno(), events, handler)
        else:
            # Both sides are shut: epoll would tell that without pause, and nothing else can come.
            self._loop.forget(end.fileno())

    def close(self) -> None:
        """End both connections."""
        for end in (self._client, self._server):
            if end is not None and end.fileno() >= 0:
                self._loop.forget(end.fileno())
                end.close()
        for name in ("_up", "_down"):
            flow: _Flow | None = getattr(self, name, None)
            if flow is not None:
                flow.close()
        self._ended(self)


def _set_up(end: socket.socket) -> None:
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        end.setsockopt(socket.IPPROTO_TCP, option, value)


def _failed(end: socket.socket) -> bool:
    return end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


class _Flow:
    """One direction: source → pipe → sink, with half-close passed on."""

    __slots__ = ("_copied", "_ended", "_pending", "_pipe", "_pipes", "_sink", "_source", "done")

    def __init__(self, pipes: Pipes, source: socket.socket, sink: socket.socket) -> None:
        self._pipes = pipes
        self._source = source
        self._sink = sink
        self._pipe: tuple[int, int] | None = None
        self._pending = 0  # bytes in the pipe
        self._copied = b""  # bytes in memory, when there was no pipe
        self._ended = False
        self.done = False

    @property
    def wants_source(self) -> bool:
        """Nothing is held, so more may come."""
        return not self._ended and not self.wants_sink

    @property
    def wants_sink(self) -> bool:
        """Something is held because the sink was full."""
        return self._pending > 0 or bool(self._copied)

    def move(self) -> None:
        """Move until the source is empty, the sink is full or others have their turn."""
        for _ in range(_TURN):
            if self.done or not self._push():
                return
            if self._ended:
                with contextlib.suppress(OSError):
                    self._sink.shutdown(socket.SHUT_WR)
                self.done = True
            elif not self._pull():
                return
        self._push()

    def _push(self) -> bool:
        """Write what is held; False when the sink is full."""
        try:
            while self._pending and self._pipe is not None:
                self._pending -= os.splice(
                    self._pipe[0], self._sink.fileno(), self._pending, flags=_SPLICE
                )
            while self._copied:
                self._copied = self._copied[self._sink.send(self._copied) :]
        except BlockingIOError:
            return False
        if self._pipe is not None:
            self._pipes.give(self._pipe)
            self._pipe = None
        return True

    def _pull(self) -> bool:
        """Read something; False when the source has nothing now."""
        self._pipe = self._pipes.take()
        try:
            if self._pipe is None:
                self._copied = self._source.recv(_COPIED)
                self._ended = not self._copied
            else:
                self._pending = os.splice(
                    self._source.fileno(), self._pipe[1], _CHUNK, flags=_SPLICE
                )
                self._ended = not self._pending
        except BlockingIOError:
            self._push()  # nothing is held: gives the pipe back
            return False
        return True

    def close(self) -> None:
        """Let go of what is held."""
        if self._pipe is not None:
            if self._pending:
                self._pipes.discard(self._pipe)
            else:
                self._pipes.give(self._pipe)
            self._pipe = None
        self._pending, self._copied = 0, b""
