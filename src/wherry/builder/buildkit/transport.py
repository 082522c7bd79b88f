"""gRPC over connections that were HTTP/1 before: served to a client, and called on one.

A session is a connection whose roles are turned round: the client serves, the daemon calls.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from wherry.builder.buildkit.wire import status_pb2

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage
    from grpclib._typing import IServable

_WINDOW = 8 << 20  # bytes on their way; contexts come through here


class StatusDetails(StatusDetailsCodecBase):
    """Details of errors: messages of any type, packed by those who raise them."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """The trailer ``grpc-status-details-bin``."""
        value = status_pb2.Status(code=status.value, message=message or "", details=details or ())
        return value.SerializeToString()

    def decode(self, status: Status, message: str | None, data: bytes) -> list[AnyMessage]:
        """The details in that trailer."""
        return list(status_pb2.Status.FromString(data).details)


class _Connection(H2Protocol):
    """HTTP/2 on a connection of which the first bytes were read already."""

    initial: bytes = b""
    made: Callable[[asyncio.BaseTransport], None] | None = None
    lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.made is not None:
            self.made(transport)
        if self.initial:
            self.data_received(self.initial)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.lost is not None:
            self.lost()


def _adopt(protocol: H2Protocol, initial: bytes) -> _Connection:
    connection = _Connection(protocol.handler, protocol.config, protocol.h2_config)
    connection.initial = initial
    return connection


class GrpcServer(Server):
    """Services offered on connections that are given to it."""

    def __init__(self, services: Collection[IServable]) -> None:
        super().__init__(
            services,
            codec=ProtoCodec(),
            status_details_codec=StatusDetails(),
            config=Configuration(
                http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW
            ),
        )

        self._transports: set[asyncio.BaseTransport] = set()

    async def serve(self, sock: socket.socket, initial: bytes) -> None:
        """Serve one connection; ``initial`` was read from it already."""
        connection = _adopt(self._protocol_factory(), initial)

        def made(transport: asyncio.BaseTransport) -> None:
            self._transports.add(transport)
            connection.lost = lambda: self._transports.discard(transport)

        connection.made = made
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)

    def close_connections(self) -> None:
        """End all connections; calls on them are cancelled."""
        for transport in list(self._transports):
            transport.close()


class SessionChannel(Channel):
    """Calls over one given connection; when that has ``ended`` there is no other."""

    def __init__(self, sock: socket.socket, initial: bytes, lost: Callable[[], None]) -> None:
        super().__init__(
            host="localhost",
            codec=ProtoCodec(),
            status_details_codec=StatusDetails(),
            config=Configuration(
                http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW
            ),
        )
        self._sock: socket.socket | None = sock
        self._initial = initial
        self._lost = lost
        self.ended = False

    async def _create_connection(self) -> H2Protocol:
        sock, self._sock = self._sock, None
        if sock is None:
            raise ConnectionResetError("the session's connection has ended")
        connection = _adopt(self._protocol_factory(), self._initial)
        connection.lost = self._end
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        return connection

    def _end(self) -> None:
        self.ended = True
        self._lost()
