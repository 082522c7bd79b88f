"""Relays datagrams from a socket on the host to a container's port: a socket per client."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct

from wherry.network.porter.loop import READ, Loop
from wherry.network.porter.share import Share

_UDP_IDLE = 90.0  # seconds without an answer after which a UDP client is forgotten
_UDP_CLIENTS = 1024
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

    def __init__(
        self, loop: Loop, share: Share, listener: socket.socket, target: tuple[str, int]
    ) -> None:
        self._loop = loop
        self._share = share
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
                client = self._welcome(peer, origin)
                if client is None:
                    return
                self._clients[address] = client
                self._watch_idle(address)
            client.send(data)

    def _welcome(
        self, peer: tuple[str, int], origin: list[tuple[int, int, bytes]]
    ) -> _UdpClient | None:
        """A new client, or None when there are too many."""
        own = len(self._clients)
        if own >= _UDP_CLIENTS or not self._share.allows(own):
            return None
        try:
            client = _UdpClient(
                self._loop, self._share.wall, self._listener, peer, origin, self.target
            )
        except OSError:
            return None
        self._share.take()
        return client

    def _forget(self, client: _UdpClient) -> None:
        client.close()
        self._share.give()

    def _watch_idle(self, address: tuple[object, ...]) -> None:
        def check() -> None:
            client = self._clients.get(address)
            if client is None:
                return
            if client.used:
                client.used = False
                self._loop.later(_UDP_IDLE, check)
            else:
                self._forget(self._clients.pop(address))

        self._loop.later(_UDP_IDLE, check)

    def close(self) -> None:
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for client in self._clients.values():
            self._forget(client)
        self._clients = {}


class _UdpClient:
    """One client of a published UDP port."""

    def __init__(
        self,
        loop: Loop,
        wall: int,
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
        with contextlib.ExitStack() as undo:
            self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            undo.callback(self._socket.close)
            if self._socket.fileno() >= wall:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self._socket.connect(target)
            loop.watch(self._socket.fileno(), READ, self._answer)
            undo.pop_all()

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
