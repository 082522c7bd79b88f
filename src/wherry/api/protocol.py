"""aiohttp's HTTP protocol, taught Docker's ``Upgrade: tcp`` and ``h2c``."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import web

_UPGRADE = re.compile(rb"\r\nUpgrade:[ \t]*(?:tcp|h2c)[ \t]*\r\n", re.IGNORECASE)


class DockerProtocol(web.RequestHandler):
    """Keeps what a client sends right behind an upgrade request.

    The parser knows one protocol to upgrade to and drops the bytes that follow a request for any
    other. Docker's is therefore presented under that name: the body is then read to its end and
    all that follows is kept until the connection is taken over.
    """

    __slots__ = ("_upgrading",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection."""
        self._upgrading = False
        super().connection_made(transport)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; whether it may still receive.

        One that gives its whole input with the request has said all it has to say, and waits for
        the output. The end of its input is seen again by whoever takes the connection over.
        """
        super().eof_received()
        return self._upgrading

    def data_received(self, data: bytes) -> None:
        """Receive from the transport."""
        if data.startswith(b"POST /"):
            head, blank, rest = data.partition(b"\r\n\r\n")
            if blank and (match := _UPGRADE.search(head + b"\r\n")):
                before, after = head[: match.start()], head[match.end() - 2 :]
                self._upgrading = True
                data = before + b"\r\nUpgrade: websocket" + after + blank + rest
        super().data_received(data)


class DockerServer(web.Server):
    """Makes a `DockerProtocol` for each connection."""

    def __call__(self) -> web.RequestHandler:
        """A protocol for a new connection."""
        options: dict[str, Any] = self._kwargs
        return DockerProtocol(self, loop=self._loop, **options)
