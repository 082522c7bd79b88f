"""HTTP/1.1 as engines speak it: requests, chunked streams both ways, hijacked connections.

The standard ``http.client`` costs 20 ms to import, more than a whole command may take, and cannot
hand over a connection with a half-closed side; what an engine's client needs is this small.
"""

from __future__ import annotations

import socket

from wherry.client.errors import ConnectionLost, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_RECEIVE = 65536
_MAX_LINE = 65536
_MAX_HEADERS = 256


class Stream:
    """A connected socket with the bytes that were received ahead."""

    __slots__ = ("_ahead", "sock")

    def __init__(self, sock: socket.socket, ahead: bytes = b"") -> None:
        self.sock = sock
        self._ahead = ahead

    def read_some(self, limit: int = _RECEIVE) -> bytes:
        """The next bytes as they come, at most ``limit``; empty at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:limit], self._ahead[limit:]
            return data
        try:
            return self.sock.recv(limit)
        except ConnectionResetError:
            return b""

    def read_line(self) -> bytes:
        """One line without its line end; raises ConnectionLost at the end of the stream."""
        while b"\n" not in self._ahead:
            if len(self._ahead) > _MAX_LINE:
                raise ProtocolError("the daemon sent a header line of more than 64 KiB")
            part = self.sock.recv(_RECEIVE)
            if not part:
                raise ConnectionLost("the daemon closed the connection without an answer")
            self._ahead += part
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line.removesuffix(b"\r")

    def readable(self) -> bool:
        """Something has come, or the other side has closed: an idle connection is neither."""
        if self._ahead:
            return True
        import select

        ready = select.poll()
        ready.register(self.sock, select.POLLIN)
        return bool(ready.poll(0))

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.sock.sendall(data)

    def close_write(self) -> None:
        """Tell the other side that no more comes; reading goes on."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side has gone already

    def shutdown(self) -> None:
        """End both directions at once; a thread that reads sees the end."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # ended already

    def close(self) -> None:
        """Close both directions."""
        self.sock.close()


class Response:
    """A status, headers (names in lower case) and a body to be read once."""

    __slots__ = ("_chunked", "_done", "_left", "_stream", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], stream: Stream, method: str) -> None:
        self.status = status
        self.headers = headers
        self._stream = stream
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self._left = int(length) if length is not None and not self._chunked else -1
        self._done = method == "HEAD" or status in (204, 304) or status < 200 or self._left == 0
        if self._chunked:
            self._left = 0

    @property
    def finished(self) -> bool:
        """The whole body has been read."""
        return self._done

    @property
    def reusable(self) -> bool:
        """Another request may follow on the same connection."""
        closing = "close" in self.headers.get("connection", "").lower()
        delimited = self._chunked or "content-length" in self.headers or self.status in (204, 304)
        return self._done and delimited and not closing

    @property
    def stream(self) -> Stream:
        """The connection itself, for a hijacked answer."""
        return self._stream

    def read_some(self, limit: int = _RECEIVE) -> bytes:
        """The next bytes of the body as they come; empty at its end.

        Raises ConnectionLost when the connection ends before the body does.
        """
        if self._done:
            return b""
        if self._chunked and self._left == 0 and not self._next_chunk():
            return b""
        want = limit if self._left < 0 else min(limit, self._left)
        data = self._stream.read_some(want)
        if not data:
            self._done = True
            if self._left > 0:
                raise ConnectionLost("unexpected EOF")
            return b""
        if self._left > 0:
            self._left -= len(data)
            if self._chunked:
                if self._left == 0:
                    self._stream.read_line()
            elif self._left == 0:
                self._done = True
        return data

    def _next_chunk(self) -> bool:
        """Read a chunk's size line; False (and the trailer consumed) at the last one."""
        try:
            line = self._stream.read_line()
            self._left = int(line.partition(b";")[0], 16)
            if self._left == 0:
                while self._stream.read_line():
                    pass
                self._done = True
        except ValueError:
            raise ProtocolError(f"bad chunk size {line!r}") from None
        except (ConnectionLost, ConnectionResetError):
            raise ConnectionLost("unexpected EOF") from None
        return not self._done

    def read(self) -> bytes:
        """All of the body that is left."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read_some():
            yield data

    def lines(self) -> Iterator[bytes]:
        """The body line by line, without line ends, as they come."""
        rest = b""
        for data in self:
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
        if rest:
            yield rest


def send_request(
    stream: Stream,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | Iterable[bytes] | None,
) -> None:
    """Write one request; a ``body`` that is not bytes is sent in chunks as it comes."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    chunked = body is not None and not isinstance(body, bytes)
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif body is not None or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body or b'')}")  # type: ignore[arg-type]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if isinstance(body, bytes):
        stream.write(head + body)
        return
    stream.write(head)
    if body is None:
        return
    try:
        for part in body:
            if part:
                stream.write(b"%x\r\n%b\r\n" % (len(part), part))
        stream.write(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # an early answer (an error, mostly) says why; it is read next


def read_response(stream: Stream, method: str) -> Response:
    """Read status line and headers; raises ProtocolError for what is not HTTP."""
    while True:
        status_line = stream.read_line().decode("latin-1")
        parts = status_line.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise ProtocolError(f"malformed HTTP response {status_line[:80]!r}")
        headers: dict[str, str] = {}
        while line := stream.read_line().decode("latin-1"):
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
            if len(headers) > _MAX_HEADERS:
                raise ProtocolError("the daemon sent too many headers")
        status = int(parts[1])
        if status != 100:
            return Response(status, headers, stream, method)
