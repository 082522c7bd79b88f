"""aiohttp's HTTP protocol with Docker's upgrades, a limit of connections, and plain refusals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError

from wherry.api.connections import Gate
from wherry.api.parser import TAKEN_OVER, InnerParser, RequestParser
from wherry.api.replies import SERVER, encode, message

log = logging.getLogger(__name__)

MAX_HEAD_LINE = 64 << 10  # bytes of a request line or header field
_LINGER = 1.0  # seconds for a client that is refused to read why
_BUSY = encode({"message": "too many connections: all that can be served are in use"}) + b"\n"
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%s"
) % (len(_BUSY), _BUSY)


class DockerProtocol(web.RequestHandler):
    """One connection. What a client sends right behind an upgrade request is kept for it."""

    __slots__ = ("_ended", "_gate", "_requests")

    def __init__(self, manager: web.Server, gate: Gate, loop: asyncio.AbstractEventLoop) -> None:
        options: dict[str, Any] = {
            "max_line_size": MAX_HEAD_LINE,
            "max_field_size": MAX_HEAD_LINE,
            "auto_decompress": False,  # archives say by themselves how they are packed
        }
        rest_seconds = gate.limits.rest_seconds
        no_log: Any = None
        super().__init__(
            manager, loop=loop, access_log=no_log, keepalive_timeout=rest_seconds, **options
        )
        self._gate = gate
        self._gate.beginning(self)  # before it is connected: many are accepted at once
        self._ended = False
        inner: InnerParser = HttpRequestParser(
            self,
            loop,
            self._read_bufsize,
            max_headers=self.max_headers,
            payload_exception=web.RequestPayloadError,
            max_msg_queue_size=1,
            **options,
        )
        self._requests = RequestParser(inner, self._max_msg_queue_size)
        self._parser = self._requests  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection, unless it had to give way before."""
        if self._force_close:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection has ended, or was taken over."""
        self._gate.leave(self)
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close: no request is under way."""
        self.force_close()

    def data_received(self, data: bytes) -> None:
        """Receive from the transport."""
        if self._gate.is_resting(self):
            self._gate.beginning(self)
        super().data_received(data)
        if self._requests.failed:
            super().data_received(b"")
        if self._messages:
            self._gate.busy(self)
        if self._requests.broken_body:
            self.close()  # after the answer

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more; whether it may still receive.

        One that gives its whole input with an upgrade has said all it has to say, and waits for
        the output. The end of its input is seen again by whoever takes the connection over.
        """
        super().eof_received()
        self._ended = self._upgraded and self._requests.upgrade.lower() in TAKEN_OVER
        return self._ended

    async def answer(
        self,
        request: web.BaseRequest,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Run the handler of a request."""
        self._gate.busy(self)
        try:
            return await handler(request)
        finally:
            self._gate.resting(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the rest of an answer."""
        finished = await super().finish_response(request, resp, start_time)
        if self._ended and not self._messages:
            self.close()
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message_text: str | None = None,
    ) -> web.StreamResponse:
        """Refuse what is no HTTP, in the form of all errors; the connection ends.

        Raises ConnectionError where the client has left: there is nobody to answer.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message_text)
        log.debug("no HTTP was received: %s", exc)
        text = exc.message.partition("\n")[0].rstrip(":")  # without what was received
        answer = message(text or "Bad Request", exc.code)
        answer.headers["Server"] = SERVER
        answer.force_close()
        return answer


class Refusal(asyncio.Protocol):
    """A connection for which there is no room: it is told so, whatever it asks.

    What it has sent is read for a moment, because closing on unread data would take the answer
    back, tcp(7); the gate says for how many at a time.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer, and close soon."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(_REFUSAL)
        if self._gate.may_linger(self):
            transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER, transport.close)
        else:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._gate.end_lingering(self)


class DockerServer(web.Server):
    """Makes the protocol of each connection."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            protocol: Any = request.protocol
            answered: web.StreamResponse = await protocol.answer(request, handler)
            return answered

        super().__init__(answer, handler_cancellation=True)

    def connection(self, gate: Gate) -> asyncio.Protocol:
        """A protocol for a new connection at ``gate``."""
        return DockerProtocol(self, gate, self._loop) if gate.make_room() else Refusal(gate)
