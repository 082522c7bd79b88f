"""A TLS stream with half-close.

``ssl.SSLSocket`` can only shut down both directions, and may not be read by one thread while
another writes. Attached containers need both, so the records go through memory buffers here and
one lock guards the TLS state.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

_CHUNK = 65536


class TlsStream(socket.socket):
    """A connected TCP socket with TLS on it; only the methods that streams need are adapted."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Takes over the descriptor of ``plain`` and shakes hands."""
        timeout = plain.gettimeout()
        super().__init__(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self.settimeout(timeout)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._state = threading.Lock()
        self._sending = threading.Lock()
        try:
            self._handshake()
        except BaseException:
            self.close()
            raise

    def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            else:
                self._flush()
                return

    def _flush(self) -> None:
        with self._sending:
            with self._state:
                data = self._outgoing.read()
            if data:
                super().sendall(data)

    def _feed(self) -> None:
        data = super().recv(_CHUNK)
        with self._state:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """At most ``bufsize`` decrypted bytes; empty when the other side has closed."""
        while True:
            try:
                with self._state:
                    return self._tls.read(bufsize)
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """Encrypt and send all of ``data``."""
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK):
            with self._state:
                self._tls.write(view[start : start + _CHUNK])
            self._flush()

    def shutdown(self, how: int) -> None:
        """``SHUT_WR`` sends close_notify and goes on reading; others close the connection."""
        if how != socket.SHUT_WR:
            super().shutdown(how)
            return
        # It would wait for the answer to its close_notify, which may come much later.
        with self._state, contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
            self._tls.unwrap()
        self._flush()
