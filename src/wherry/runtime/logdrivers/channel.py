"""The way to a log service: a socket that reconnects."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS = 10.0


class Channel:
    """Sends whole messages, in order; connects late and again after a failure.

    A datagram is sent once. On a stream a message is tried ``attempts`` times (0: for ever) with
    ``pause`` seconds between, then dropped.
    """

    def __init__(
        self,
        address: SplitResult,
        *,
        tls: Mapping[str, str] | None = None,
        attempts: int = 3,
        pause: float = 1.0,
    ) -> None:
        self._address = address
        self._tls = tls
        self._attempts = attempts
        self._pause = pause
        self._socket: socket.socket | None = None

    def send(self, message: bytes) -> bool:
        """Send one message; False when it was dropped."""
        attempt = 0
        while True:
            try:
                if self._socket is None:
                    self._socket = self._connect()
                self._socket.sendall(message)
                return True
            except OSError:
                self.close()
                attempt += 1
                if self._datagram or attempt == self._attempts:
                    return False
                time.sleep(self._pause)

    def close(self) -> None:
        """Close the socket; a later send connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def _datagram(self) -> bool:
        return self._address.scheme in ("udp", "unixgram")

    def _connect(self) -> socket.socket:
        kind = socket.SOCK_DGRAM if self._datagram else socket.SOCK_STREAM
        if self._address.scheme in ("unix", "unixgram"):
            local = socket.socket(socket.AF_UNIX, kind)
            try:
                local.settimeout(CONNECT_SECONDS)
                local.connect(self._address.path)
            except OSError:
                local.close()
                raise
            return local
        host, port = self._address.hostname or "localhost", self._address.port
        if self._datagram:
            family, _, _, _, target = socket.getaddrinfo(host, port, type=kind)[0]
            remote = socket.socket(family, kind)
            remote.connect(target)
            return remote
        remote = socket.create_connection((host, port or 0), CONNECT_SECONDS)
        if self._address.scheme in ("tls", "tcp+tls"):
            return _tls_context(self._tls or {}).wrap_socket(remote, server_hostname=host)
        return remote


def _tls_context(options: Mapping[str, str]) -> ssl.SSLContext:
    import ssl  # two megabytes that every shim would carry for the few services with TLS

    context = ssl.create_default_context(cafile=options.get("ca-cert"))
    if options.get("cert"):
        context.load_cert_chain(options["cert"], options.get("key"))
    if options.get("skip-verify") not in (None, "", "false", "0"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
