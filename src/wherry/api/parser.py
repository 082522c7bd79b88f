"""aiohttp's request parser, made to keep what a client sends right behind an upgrade.

aiohttp's parsers know WebSocket (and one of them ``tcp``) as protocols to upgrade to, and drop the
bytes that follow a request for any other. No byte is looked at here: which request asks for an
upgrade is told by the parsed request only, and where it ends by the parser, which is asked for one
request at a time and keeps the rest until it is asked again.
"""

from __future__ import annotations

from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

TAKEN_OVER = frozenset({"tcp", "h2c"})
"""The protocols of Docker's clients, spoken on the bare connection from then on."""
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"  # how a client begins that asks for nothing, RFC 9113, 3.4

MAX_HEAD = 1 << 20  # bytes of a request's head in all

Parsed = tuple[list[tuple[Any, StreamReader]], bool, bytes]


class InnerParser(Protocol):
    """What is used of aiohttp's parsers, in C and in Python, made with max_msg_queue_size=1."""

    def feed_data(self, data: bytes) -> Any:
        """Requests found, whether the connection is upgraded, and the bytes behind that."""

    def set_upgraded(self, val: bool) -> None:
        """Whether what follows is another protocol."""

    def message_consumed(self) -> None:
        """Allow one request more."""

    def pause_reading(self) -> None:
        """Keep the rest of a body for later."""


class RequestParser:
    """The parser of one connection, in the shape that ``web.RequestHandler`` knows.

    ``most`` requests may wait for an answer; more are left unparsed until some are taken.
    """

    def __init__(self, inner: InnerParser, most: int) -> None:
        self._inner = inner
        self._most = most
        self._waiting = 0
        self._payload: StreamReader = EMPTY_PAYLOAD  # of the request read last
        self._switches = False  # whether that request asks for another protocol
        self._upgrade = ""  # and for which
        self._begun = False
        self._head = 0  # bytes of a head that is not complete
        self._complete = False  # that request was read to its end
        self._held = b""  # what came when no more could wait
        self._failure: HttpProcessingError | None = None
        self.broken_body = False

    @property
    def upgrade(self) -> str:
        """The protocol that the request read last asks for; "" for none."""
        return self._upgrade

    @property
    def failed(self) -> bool:
        """Whether ``feed_data`` has yet to raise what it found behind good requests."""
        return self._failure is not None

    def feed_data(self, data: bytes) -> Parsed:
        """Parse more; raises HttpProcessingError once for what is no HTTP, then ignores all.

        A body that breaks off as HTTP fails for its reader, and ``broken_body`` is set.
        """
        if self._inner is _ENDED:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            return [], False, b""
        found: list[tuple[Any, StreamReader]] = []
        first, self._begun = not self._begun, self._begun or bool(data)
        try:
            if first and data.startswith(HTTP2_PREFACE):
                raise HttpProcessingError(
                    code=505, message="HTTP/2 without an upgrade is not spoken here"
                )
            return self._parse(data, found)
        except HttpProcessingError as error:
            self._inner = _ENDED
            if not self._payload.is_eof():
                self._payload.set_exception(web.RequestPayloadError(error.message))
                self._payload.feed_eof()
                self.broken_body = True
            elif not found:
                raise
            else:
                self._failure = error
            return found, False, b""

    def _parse(self, data: bytes, found: list[tuple[Any, StreamReader]]) -> Parsed:
        data, self._held = self._held + data, b""
        while True:
            if self._complete:
                if self._waiting >= self._most:
                    self._held = data
                    return found, False, b""
                self._complete = False
                self._inner.message_consumed()
                if self._switches:
                    self._inner.set_upgraded(True)  # whatever the protocol: the rest is kept
            inside = not self._payload.is_eof()
            requests, upgraded, rest = self._inner.feed_data(data)
            self._head = 0 if inside or requests else self._head + len(data)
            if self._head > MAX_HEAD:
                raise HttpProcessingError(code=431, message="the head of the request is too large")
            data = b""
            for request, payload in requests:  # one at most
                found.append((request, payload))
                self._waiting += 1
                self._payload = payload
                self._switches = bool(request.upgrade)
                self._upgrade = request.headers.get("Upgrade", "") if self._switches else ""
            if upgraded:
                return found, True, rest
            if not self._payload.is_eof() or not (inside or requests):
                return found, False, b""  # a body or a head is to be continued
            self._complete = True

    def set_upgraded(self, val: bool) -> None:
        """The upgrade was declined: HTTP goes on."""
        self._inner.message_consumed()
        self._inner.set_upgraded(val)
        self._switches, self._upgrade = val, ""

    def message_consumed(self) -> None:
        """A request was taken to be answered."""
        self._waiting -= 1

    def pause_reading(self) -> None:
        """The reader of the body does not keep up."""
        self._inner.pause_reading()


class _Ended:
    """Stands for the parser of a connection on which no HTTP is spoken."""

    def feed_data(self, data: bytes) -> Any:
        return [], False, b""

    def set_upgraded(self, val: bool) -> None:
        pass

    def message_consumed(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass


_ENDED = _Ended()
