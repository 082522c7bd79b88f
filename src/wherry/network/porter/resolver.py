"""A container's name server: answers from the tables, forwards the rest.

Queries that are not about containers go to the servers that the daemon named, one after the other:
to those of ``--dns`` from the container's namespace, where their addresses have the meaning that
the user gave them, to the host's own from the host's. A container that is only on internal
networks gets no help from the host.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping
from functools import partial

from wherry.errors import WherryError
from wherry.network.porter import names
from wherry.network.porter.loop import READ, WRITE, Loop

_PATIENCE = 3.0  # seconds that one upstream server has
_CONCURRENT = 256  # forwarded queries of one container at a time
_TCP_IDLE = 20.0
_TCP_CLIENTS = 64


class Resolver:
    """Serves one container on sockets that were made inside its namespace."""

    def __init__(
        self,
        loop: Loop,
        tables: Mapping[str, names.Table],
        udp: socket.socket,
        tcp: socket.socket,
    ) -> None:
        self._loop = loop
        self._tables = tables
        self._udp = udp
        self._tcp = tcp
        self.networks: list[str] = []
        self.upstream: list[str] = []
        self.inside = False
        self.links: dict[str, str] = {}
        # Containers that live for one question shall not all meet the same address.
        self._turns = [int.from_bytes(os.urandom(2), "big")] * 2
        self._pending = 0
        self._clients: set[_TcpClient] = set()
        self._closed = False
        udp.setblocking(False)
        tcp.setblocking(False)
        loop.watch(udp.fileno(), READ, self._receive)
        loop.watch(tcp.fileno(), READ, self._accept)

    def _receive(self, _: int) -> None:
        for _ in range(64):
            try:
                data, address = self._udp.recvfrom(4096)
            except OSError:
                return
            self.handle(data, partial(self._send, address), tcp=False)

    def _send(self, address: tuple[str, int], message: bytes) -> None:
        if not self._closed:
            with contextlib.suppress(OSError):
                self._udp.sendto(message, address)

    def _accept(self, _: int) -> None:
        with contextlib.suppress(OSError):
            peer, _ = self._tcp.accept()
            if len(self._clients) >= _TCP_CLIENTS:
                peer.close()
                return
            self._clients.add(_TcpClient(self._loop, peer, self, self._clients.discard))

    def handle(self, data: bytes, send: Callable[[bytes], None], *, tcp: bool) -> None:
        """Answer a query by calling ``send``, now or later, at most once."""
        query = names.parse_query(data)
        if query is None:
            if len(data) >= 12 and not data[2] & 0x80:
                send(data[:2] + struct.pack(">HHHHH", 0x8000 | names.FORMERR, 0, 0, 0, 0))
            return
        tables = [self._tables[network] for network in self.networks if network in self._tables]
        # Clients ask for A and AAAA side by side: counted together, every second turn would
        # be one for nobody.
        six = query.kind == names.TYPE_AAAA
        self._turns[six] += 1
        found = names.answer(query, tables, self.links, self._turns[six])
        limit = 65535 if tcp else None
        if found is not None:
            send(names.reply(query, found[0], found[1], limit=limit))
        elif not self.upstream or self._pending >= _CONCURRENT:
            send(names.reply(query, names.SERVFAIL))
        else:
            self._pending += 1
            forward = _TcpForward if tcp else _UdpForward

            def done(message: bytes | None) -> None:
                self._pending -= 1
                send(message if message is not None else names.reply(query, names.SERVFAIL))

            servers = list(self.upstream)
            forward(self._loop, data, query, servers, self._socket, done).next_server()

    def _socket(self, family: int, kind: int) -> socket.socket:
        """A socket that asks a server, in the namespace where the server's address means it."""
        if not self.inside:
            return socket.socket(family, kind)
        # Few containers need it: the porter stays small without.
        from wherry.network.netns import entered, namespace_of_socket

        namespace = namespace_of_socket(self._udp)
        try:
            with entered(namespace):
                return socket.socket(family, kind)
        finally:
            os.close(namespace)

    def close(self) -> None:
        self._closed = True
        for server in (self._udp, self._tcp):
            self._loop.forget(server.fileno())
            server.close()
        for client in list(self._clients):
            client.close()


class _Forward:
    """A query on its way to one server after the other."""

    kind = socket.SOCK_DGRAM

    def __init__(
        self,
        loop: Loop,
        data: bytes,
        query: names.Query,
        servers: list[str],
        make_socket: Callable[[int, int], socket.socket],
        done: Callable[[bytes | None], None],
    ) -> None:
        self.loop = loop
        self.data = data
        self.query = query
        self._servers = servers
        self._make_socket = make_socket
        self._done = done
        self._attempt = 0
        self.socket: socket.socket | None = None

    def next_server(self) -> None:
        """Ask the next server, or give up."""
        self._drop()
        self._attempt += 1
        if not self._servers:
            self._done(None)
            return
        server = self._servers.pop(0)
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        try:
            self.socket = self._make_socket(family, self.kind | socket.SOCK_NONBLOCK)
            self.begin(self.socket, (server, 53))
        except (OSError, WherryError):
            self.next_server()
            return
        attempt = self._attempt

        def too_late() -> None:
            if attempt == self._attempt and self.socket is not None:
                self.next_server()

        self.loop.later(_PATIENCE, too_late)

    def begin(self, peer: socket.socket, address: tuple[str, int]) -> None:
        """Send the query to a server."""
        peer.connect(address)
        peer.send(self.data)
        self.loop.watch(peer.fileno(), READ, self._ready)

    def _ready(self, _: int) -> None:
        assert self.socket is not None
        try:
            message = self.socket.recv(65535)
        except OSError:
            self.next_server()
            return
        self.check(message)

    def check(self, message: bytes) -> None:
        """Take a message for the answer when it is one."""
        same = message[:2] == self.data[:2] and len(message) >= 12 and message[2] & 0x80
        question = message[12 : 12 + len(self.query.question)].lower()
        if not same or question not in (b"", self.query.question.lower()):
            return
        code = message[3] & 0x0F
        if code in (names.SERVFAIL, names.REFUSED) and self._servers:
            self.next_server()
            return
        self._drop()
        self._done(message)

    def _drop(self) -> None:
        if self.socket is not None:
            self.loop.forget(self.socket.fileno())
            self.socket.close()
            self.socket = None


class _UdpForward(_Forward):
    """A query that came and goes by UDP."""


class _TcpForward(_Forward):
    """A query that came and goes by TCP: two bytes of length before each message."""

    kind = socket.SOCK_STREAM

    def begin(self, peer: socket.socket, address: tuple[str, int]) -> None:
        peer.connect_ex(address)
        self._received = b""
        self.loop.watch(peer.fileno(), WRITE, self._connected)

    def _connected(self, _: int) -> None:
        assert self.socket is not None
        try:
            self.socket.sendall(struct.pack(">H", len(self.data)) + self.data)
        except OSError:
            self.next_server()
            return
        self.loop.watch(self.socket.fileno(), READ, self._more)

    def _more(self, _: int) -> None:
        assert self.socket is not None
        try:
            data = self.socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.next_server()
            return
        self._received += data
        if len(self._received) >= 2:
            length = struct.unpack_from(">H", self._received)[0]
            if len(self._received) >= 2 + length:
                self.check(self._received[2 : 2 + length])


class _TcpClient:
    """A container's TCP connection to its name server."""

    def __init__(
        self,
        loop: Loop,
        peer: socket.socket,
        resolver: Resolver,
        ended: Callable[[_TcpClient], None],
    ) -> None:
        self._loop = loop
        self._peer = peer
        self._resolver = resolver
        self._ended = ended
        self._received = b""
        self._active = True
        peer.setblocking(False)
        loop.watch(peer.fileno(), READ, self._more)
        loop.later(_TCP_IDLE, self._idle)

    def _idle(self) -> None:
        if self._peer.fileno() < 0:
            return
        if not self._active:
            self.close()
            return
        self._active = False
        self._loop.later(_TCP_IDLE, self._idle)

    def _more(self, _: int) -> None:
        try:
            data = self._peer.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._active = True
        self._received += data
        while len(self._received) >= 2:
            length = struct.unpack_from(">H", self._received)[0]
            if len(self._received) < 2 + length:
                break
            message = self._received[2 : 2 + length]
            self._received = self._received[2 + length :]
            self._resolver.handle(message, self._send, tcp=True)

    def _send(self, message: bytes) -> None:
        if self._peer.fileno() < 0:
            return
        try:
            self._peer.sendall(struct.pack(">H", len(message)) + message)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._peer.fileno() >= 0:
            self._loop.forget(self._peer.fileno())
            self._peer.close()
        self._ended(self)
