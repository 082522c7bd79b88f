"""TLS in front of the API: each connection is decrypted here and goes on over a socket pair.

The application behind sees plain sockets only, so that attached streams can be handed on as bare
descriptors whatever the client came over. Unlike asyncio's own TLS, a client may end its sending
side (``docker run -i`` at the end of its input) and still receive.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from wherry.api.connections import Gate
from wherry.errors import InvalidParameter

_CHUNK = 64 << 10
_HIGH_WATER = 256 << 10


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Certificate and key of the daemon; with ``ca`` clients must show a certificate of it."""

    certificate: str
    key: str
    ca: str | None = None


def server_context(files: TLSFiles) -> ssl.SSLContext:
    """Settings for the daemon's side, TLS 1.2 or newer; raises InvalidParameter."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.certificate, files.key)
        if files.ca is not None:
            context.load_verify_locations(files.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise InvalidParameter(
            f"load TLS certificate {files.certificate}, key {files.key}: {error}"
        ) from error
    return context


def bridge(
    context: ssl.SSLContext, gate: Gate, plain: Callable[[], asyncio.Protocol]
) -> asyncio.Protocol:
    """The protocol of a new connection: decrypts and passes on to one made by ``plain``.

    Until its handshake is complete the connection has a place at ``gate`` of its own; without room
    it is closed.
    """
    return _Outside(context, gate, plain) if gate.make_room() else _Closed()


class _Closed(asyncio.Protocol):
    """A connection for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Outside(asyncio.Protocol):
    """The encrypted side of one connection."""

    def __init__(
        self, context: ssl.SSLContext, gate: Gate, plain: Callable[[], asyncio.Protocol]
    ) -> None:
        self._gate = gate
        self._gate.beginning(self)
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = False
        self._ended = False
        self._gave_way = False
        self._transport: asyncio.Transport | None = None
        self._inside: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._gave_way:
            transport.abort()
            return
        self._transport = transport

    def give_way(self) -> None:
        """Close: the handshake is not complete, perhaps not begun."""
        self._gave_way = True
        self._abort()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        self._advance()

    def eof_received(self) -> bool:
        self._incoming.write_eof()
        self._advance()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._gate.leave(self)
        if self._opening is not None:
            self._opening.cancel()
        if self._inside is not None:
            self._inside.close()

    def pause_writing(self) -> None:
        if self._inside is not None:
            self._inside.pause_reading()

    def resume_writing(self) -> None:
        if self._inside is not None:
            self._inside.resume_reading()

    def send(self, data: bytes) -> None:
        """Encrypt and send."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self._abort()
            return
        self._flush()

    def finish(self) -> None:
        """The application has ended its side: say so and close."""
        with contextlib.suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        """The application does not keep up."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """The application keeps up again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def _advance(self) -> None:
        try:
            if not self._established:
                self._tls.do_handshake()
                self._established = True
                self._gate.leave(self)
                self._opening = asyncio.ensure_future(self._open_inside())
            elif self._inside is not None:
                self._pass_on()
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ssl.CertificateError):
            self._flush()  # the alert that tells the client why
            self._abort()
            return
        self._flush()

    def _pass_on(self) -> None:
        assert self._inside is not None
        while not self._ended:
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                return
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            if data:
                self._inside.write(data)
            else:
                self._ended = True
                self._inside.write_eof()

    async def _open_inside(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(self._plain, theirs)
        self._inside, _ = await loop.create_connection(lambda: _Inside(self), sock=ours)
        self._inside.set_write_buffer_limits(_HIGH_WATER)
        self._advance()

    def _flush(self) -> None:
        if self._transport is not None and (data := self._outgoing.read()):
            self._transport.write(data)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Inside(asyncio.Protocol):
    """The plain side of the same connection."""

    def __init__(self, outside: _Outside) -> None:
        self._outside = outside

    def data_received(self, data: bytes) -> None:
        self._outside.send(data)

    def eof_received(self) -> bool:
        self._outside.finish()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._outside.finish()

    def pause_writing(self) -> None:
        self._outside.pause()

    def resume_writing(self) -> None:
        self._outside.resume()
