"""Relays from a listening socket on the host to a container's port.

TCP bytes move by splice(2) through a pipe, inside the kernel. UDP gets a socket per client, so
that answers find their way back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable

from wherry.network.porter.loop import READ, WRITE, Loop

_CHUNK = 1 << 20
_UDP_IDLE = 90.0  # seconds without an answer after which a UDP client is forgotten
_UDP_CLIENTS = 1024
_SPLICE = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)
_BACKLOG = 4096


class TcpRelay:
    """Accepts on ``listener`` and connects every client to ``target``."""

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self._loop = loop
        self._listener = listener
        self.target = target
        self._connections: set[_Connection] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def _accept(self, _: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # Let those that are open end before more come in.
                self._loop.forget(self._listener.fileno())
                self._loop.later(0.5, self._resume)
            return
        connection = _Connection(self._loop, client, self.target, self._connections.discard)
        self._connections.add(connection)
        connection.start()

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.watch(self._listener.fileno(), READ, self._accept)

    def close(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for connection in list(self._connections):
            connection.close()


class _Connection:
    """A client, its connection to the container, and a pipe for each direction."""

    def __init__(
        self,
        loop: Loop,
        client: socket.socket,
        target: tuple[str, int],
        ended: Callable[[_Connection], None],
    ) -> None:
        self._loop = loop
        self._target = target
        self._ended = ended
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._client = client
        self._server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        client.setblocking(False)
        for end in (client, self._server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._flows: list[_Flow] = []

    def start(self) -> None:
        """Connect to the container; the client waits meanwhile."""
        code = self._server.connect_ex(self._target)
        if code not in (0, errno.EINPROGRESS):
            self.close()
            return
        self._loop.watch(self._server.fileno(), WRITE, self._connected)

    def _connected(self, _: int) -> None:
        if self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            return
        try:
            self._flows = [_Flow(self._client, self._server), _Flow(self._server, self._client)]
        except OSError:
            self.close()
            return
        self._work(0)

    def _work(self, _: int) -> None:
        """Move what can be moved, then wait for exactly what is missing."""
        try:
            for flow in self._flows:
                flow.move()
        except OSError:
            self.close()
            return
        if all(flow.done for flow in self._flows):
            self.close()
            return
        up, down = self._flows
        self._wait(self._client, up.wants_source, down.wants_sink)
        self._wait(self._server, down.wants_source, up.wants_sink)

    def _wait(self, end: socket.socket, read: bool, write: bool) -> None:
        events = (READ if read else 0) | (WRITE if write else 0)
        if events:
            self._loop.watch(end.fileno(), events, self._work)
        else:
            # A reset must still be heard, or the other side would wait for ever; epoll always
            # reports errors, but a half-closed end would report its hang-up without pause.
            self._loop.forget(end.fileno())

    def close(self) -> None:
        """End both connections."""
        for end in (self._client, self._server):
            if end.fileno() >= 0:
                self._loop.forget(end.fileno())
                end.close()
        for flow in self._flows:
            flow.close()
        self._flows = []
        self._ended(self)


class _Flow:
    """One direction: source → pipe → sink, with half-close passed on."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self._source = source
        self._sink = sink
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pending = 0
        self._ended = False
        self.done = False

    @property
    def wants_source(self) -> bool:
        return not self._ended and self._pending == 0

    @property
    def wants_sink(self) -> bool:
        return self._pending > 0

    def move(self) -> None:
        """Move until the source is empty or the sink is full."""
        while not self.done:
            with contextlib.suppress(BlockingIOError):
                while self._pending:
                    self._pending -= os.splice(
                        self._read, self._sink.fileno(), self._pending, flags=_SPLICE
                    )
            if self._pending:
                return
            if self._ended:
                with contextlib.suppress(OSError):
                    self._sink.shutdown(socket.SHUT_WR)
                self.done = True
                return
            try:
                moved = os.splice(self._source.fileno(), self._write, _CHUNK, flags=_SPLICE)
            except BlockingIOError:
                return
            self._pending = moved
            self._ended = moved == 0

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50


def _ask_for_destination(listener: socket.socket) -> None:
    """Let every datagram tell which of the host's addresses it was sent to (ip(7), ipv6(7))."""
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    else:
        listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _answer_from(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Ancillary data that sends an answer from the address that was asked."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, local, _ = struct.unpack("=i4s4s", data[:12])
            return [(level, kind, struct.pack("=i4s4s", 0, local, bytes(4)))]
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            return [(level, kind, data)]
    return []


class UdpRelay:
    """Passes datagrams between clients of ``listener`` and ``target``.

    Answers leave from the address that the client asked, whichever of the host's that is.
    """

    def __init__(self, loop: Loop, listener: socket.socket, target: tuple[str, int]) -> None:
        self._loop = loop
        self._listener = listener
        self.target = target
        self._clients: dict[tuple[object, ...], _UdpClient] = {}
        listener.setblocking(False)
        _ask_for_destination(listener)
        loop.watch(listener.fileno(), READ, self._receive)

    def _receive(self, _: int) -> None:
        for _ in range(64):
            try:
                data, ancillary, _, peer = self._listener.recvmsg(65535, 64)
            except OSError:
                return
            origin = _answer_from(ancillary)
            address = (peer, *origin)
            client = self._clients.get(address)
            if client is None:
                if len(self._clients) >= _UDP_CLIENTS:
                    return
                try:
                    client = _UdpClient(self._loop, self._listener, peer, origin, self.target)
                except OSError:
                    return
                self._clients[address] = client
                self._watch_idle(address)
            client.send(data)

    def _watch_idle(self, address: tuple[object, ...]) -> None:
        def check() -> None:
            client = self._clients.get(address)
            if client is None:
                return
            if client.used:
                client.used = False
                self._loop.later(_UDP_IDLE, check)
            else:
                self._clients.pop(address).close()

        self._loop.later(_UDP_IDLE, check)

    def close(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for client in self._clients.values():
            client.close()
        self._clients = {}


class _UdpClient:
    """One client of a published UDP port."""

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        address: tuple[str, int],
        origin: list[tuple[int, int, bytes]],
        target: tuple[str, int],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._address = address
        self._origin = origin
        self.used = True
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.connect(target)
        loop.watch(self._socket.fileno(), READ, self._answer)

    def send(self, data: bytes) -> None:
        self.used = True
        with contextlib.suppress(OSError):
            self._socket.send(data)

    def _answer(self, _: int) -> None:
        with contextlib.suppress(OSError):
            data = self._socket.recv(65535)
            self.used = True
            self._listener.sendmsg([data], self._origin, 0, self._address)

    def close(self) -> None:
        self._loop.forget(self._socket.fileno())
        self._socket.close()
