"""A BuildKit client in Python: offers a session and calls the control service on a daemon."""

from __future__ import annotations

import asyncio
import io
import secrets
import socket
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from wherry.builder.buildkit.filesync import entries, write_stat
from wherry.builder.buildkit.transport import GrpcServer, SessionChannel
from wherry.builder.buildkit.wire import control_pb2 as pb
from wherry.builder.buildkit.wire import gateway_pb2 as gateway
from wherry.builder.buildkit.wire.control_grpc import ControlStub
from wherry.builder.buildkit.wire.fsutil_pb2 import Packet
from wherry.builder.buildkit.wire.gateway_grpc import LLBBridgeStub
from wherry.builder.buildkit.wire.session_grpc import FileSendBase, FileSyncBase
from wherry.builder.layertree import LayerTree

_METHODS = ("moby.filesync.v1.FileSync/DiffCopy", "moby.filesync.v1.FileSend/DiffCopy")


class Files(FileSyncBase):
    """Offers one directory under every name; ``sent`` counts the files that were asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sent = 0

    async def DiffCopy(self, stream: Any) -> None:
        tree = LayerTree([str(self.directory)])
        paths = []
        for path, entry, first in entries(tree):
            paths.append(path)
            stat = write_stat(path, entry, first)
            await stream.send_message(Packet(type=Packet.PACKET_STAT, stat=stat))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        async for packet in stream:
            if packet.type == Packet.PACKET_FIN:
                await stream.send_message(Packet(type=Packet.PACKET_FIN))
                return
            self.sent += 1
            data = (self.directory / paths[packet.id]).read_bytes()
            for start in range(0, len(data), 32 << 10):
                piece = data[start : start + (32 << 10)]
                await stream.send_message(Packet(type=Packet.PACKET_DATA, id=packet.id, data=piece))
            await stream.send_message(Packet(type=Packet.PACKET_DATA, id=packet.id))


class Results(FileSendBase):
    """Takes one file for each exporter."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    async def DiffCopy(self, stream: Any) -> None:
        exporter = stream.metadata["buildkit-attachable-exporter-id"]
        self.files[exporter] = b"".join([message.data async for message in stream])

    def archive(self, exporter: int) -> tarfile.TarFile:
        """What an exporter sent, as a tar archive."""
        return tarfile.open(fileobj=io.BytesIO(self.files[str(exporter)]))


def upgrade(path: str, target: str, *headers: str) -> socket.socket:
    """A connection to the daemon's socket at ``path`` that was upgraded at ``target``."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(path)
    lines = (f"POST {target} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: h2c", *headers)
    sock.sendall("\r\n".join((*lines, "", "")).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 "), head
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def connection(path: str) -> AsyncIterator[SessionChannel]:
    """A connection to the services of the daemon at the socket ``path``."""
    channel = SessionChannel(upgrade(path, "/grpc"), b"", lambda: None)
    try:
        yield channel
    finally:
        channel.close()


@asynccontextmanager
async def control(path: str) -> AsyncIterator[ControlStub]:
    """The control service of the daemon at the socket ``path``."""
    async with connection(path) as channel:
        yield ControlStub(channel)


async def ask(path: str, directory: Path, question: str, **attributes: str) -> dict[str, bytes]:
    """What the front end answers to a question about the Dockerfile of a directory."""
    ref = secrets.token_hex(8)
    metadata = {"buildkit-controlapi-buildid": ref}
    async with session(path, Files(directory)) as name, connection(path) as channel:
        solving = asyncio.create_task(
            ControlStub(channel).Solve(pb.SolveRequest(ref=ref, session=name))
        )
        bridge = LLBBridgeStub(channel)
        await bridge.Ping(gateway.PingRequest(), metadata=metadata)
        try:
            answer = await bridge.Solve(
                gateway.SolveRequest(
                    frontend="dockerfile.v0",
                    frontend_opt={"requestid": question, **attributes},
                    allow_result_return=True,
                ),
                metadata=metadata,
            )
        finally:
            await bridge.Return(gateway.ReturnRequest(), metadata=metadata)
            await solving
    return dict(answer.result.metadata)


@asynccontextmanager
async def session(path: str, *services: Any) -> AsyncIterator[str]:
    """A session in which ``services`` are offered; gives its id."""
    name = secrets.token_hex(8)
    headers = [f"X-Docker-Expose-Session-Grpc-Method: /{method}" for method in _METHODS]
    sock = upgrade(path, "/session", f"X-Docker-Expose-Session-Uuid: {name}", *headers)
    server = GrpcServer(services)
    await server.serve(sock, b"")
    try:
        yield name
    finally:
        server.close_connections()


async def solve(
    path: str, directory: Path, *exporters: tuple[str, dict[str, str]], **attributes: str
) -> tuple[pb.SolveResponse, Results, list[pb.StatusResponse], Files]:
    """Build the Dockerfile of a directory; returns all that comes of it."""
    files, results, ref = Files(directory), Results(), secrets.token_hex(8)
    async with session(path, files, results) as name, control(path) as service:
        response = await service.Solve(
            pb.SolveRequest(
                ref=ref,
                session=name,
                frontend="dockerfile.v0",
                frontend_attrs={k.replace("__", ":"): v for k, v in attributes.items()},
                exporters=[pb.Exporter(type=kind, attrs=attrs) for kind, attrs in exporters],
            )
        )
        news = await service.Status(pb.StatusRequest(ref=ref))
    return response, results, news, files
