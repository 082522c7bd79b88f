"""Taking a client's connection over, for attach, exec and gRPC.

The answer's head is written, aiohttp lets go of the connection without shutting it down, and the
bare socket goes on to whoever owns the container's streams (in the end: to the shim). What the
client had sent behind its request is handed over too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import NamedTuple, Self

from aiohttp import web

from wherry.api.call import Call
from wherry.engine.logs import frame

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"


class Taken(NamedTuple):
    """A connection taken over; ``initial`` are bytes that were read from it already."""

    sock: socket.socket
    initial: bytes


class Hijacked(web.StreamResponse):
    """Stands for an answer that has been sent by other means; aiohttp sends nothing more."""

    def __init__(self, status: int) -> None:
        super().__init__(status=status)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


class _Tail:
    """Collects what arrives behind the request; aiohttp feeds it like a WebSocket's parser."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Keep ``data``."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more comes."""


class Hijack:
    """One connection on its way out of aiohttp.

    As a context it reads nothing more from the client; enter it before anything is awaited that
    is not the request's body. When the connection was not taken, HTTP goes on at its end. Until
    the end it can also tell the client of a failure, whoever has the connection by then.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self.upgrades = call.request.headers.get("Upgrade") is not None
        self._tail = _Tail()
        self._taken: socket.socket | None = None

    def __enter__(self) -> Self:
        transport = self._call.request.transport
        if transport is None:
            raise ConnectionResetError
        transport.pause_reading()
        return self

    def __exit__(self, *_: object) -> None:
        if self._taken is not None:
            self._taken.close()
        elif (transport := self._call.request.transport) is not None:
            transport.resume_reading()

    async def take(self, content_type: str, protocol: str = "tcp") -> Taken:
        """Send the head of the answer and take the connection; raises ConnectionError.

        ``protocol`` is what is spoken from now on.
        """
        request = self._call.request
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        request.protocol.set_parser(self._tail)  # type: ignore[arg-type]
        sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        sock.setblocking(False)
        self._taken = sock
        await asyncio.get_running_loop().sock_sendall(sock, self._head(content_type, protocol))
        transport.abort()  # closes aiohttp's descriptor; ours keeps the connection open
        return Taken(sock.dup(), self._tail.data)

    async def fail(self, text: str, framed: bool) -> None:
        """Tell the client in its stream what failed after the head was sent, and end it."""
        assert self._taken is not None
        line = f"{text}\r\n".encode()
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(
                self._taken, frame("stdout", line) if framed else line
            )
            self._taken.shutdown(socket.SHUT_RDWR)

    def answer(self) -> Hijacked:
        """What the handler returns after ``take``."""
        return Hijacked(101 if self.upgrades else 200)

    def _head(self, content_type: str, protocol: str) -> bytes:
        lines = [f"Content-Type: {content_type}"]
        if self.upgrades:
            lines = ["HTTP/1.1 101 UPGRADED", *lines, "Connection: Upgrade", f"Upgrade: {protocol}"]
        else:
            lines = ["HTTP/1.1 200 OK", *lines]
        lines += [f"{name}: {value}" for name, value in self._call.common_headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()
