"""aiohttp's HTTP protocol, taught Docker's ``Upgrade: tcp``."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

_UPGRADE = re.compile(rb"\r\nUpgrade:[ \t]*tcp[ \t]*\r\n", re.IGNORECASE)


class DockerProtocol(web.RequestHandler):
    """Keeps what a client sends right behind an upgrade request.

    The parser knows one protocol to upgrade to and drops the bytes that follow a request for any
    other. Docker's is therefore presented under that name: the body is then read to its end and
    all that follows is kept until the connection is taken over.
    """

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Receive from the transport."""
        if data.startswith(b"POST /"):
            head, blank, rest = data.partition(b"\r\n\r\n")
            if blank and (match := _UPGRADE.search(head + b"\r\n")):
                before, after = head[: match.start()], head[match.end() - 2 :]
                data = before + b"\r\nUpgrade: websocket" + after + blank + rest
        super().data_received(data)


class DockerServer(web.Server):
    """Makes a `DockerProtocol` for each connection."""

    def __call__(self) -> web.RequestHandler:
        """A protocol for a new connection."""
        options: dict[str, Any] = self._kwargs
        return DockerProtocol(self, loop=self._loop, **options)
