"""A small engine in memory and a server over it, for tests of HTTP mechanics only."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from wherry.api.app import Api
from wherry.api.connections import Limits
from wherry.api.routes import ALL
from wherry.api.serve import Address, Listeners
from wherry.api.tls import TLSFiles
from wherry.engine.attach import AttachOptions
from wherry.engine.events import EventBus
from wherry.engine.logs import frame
from wherry.engine.options import EngineConfig
from wherry.errors import Conflict, NotFound
from wherry.storage.statedb import StateDB


class Containers:
    """Knows one container, ``c1``, which echoes what it is sent and ends at the end of input."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.exit: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def attachable(self, ref: str, detach_keys: str | None = None) -> bool:
        if ref != "c1":
            raise NotFound(f"No such container: {ref}")
        return False

    async def attach(
        self, ref: str, options: AttachOptions, sock: socket.socket, initial: bytes, framed: bool
    ) -> None:
        async def echo() -> None:
            loop = asyncio.get_running_loop()
            with sock:
                data = initial or await loop.sock_recv(sock, 65536)
                while data:
                    await loop.sock_sendall(sock, frame("stdout", data) if framed else data)
                    data = await loop.sock_recv(sock, 65536)
                await loop.sock_sendall(sock, frame("stdout", b"end") if framed else b"end")

        self.echo = asyncio.create_task(echo())

    async def create(self, body: Any, name: Any, platform: Any) -> dict[str, Any]:
        self.calls.append((body, name, platform))
        return {"Id": "c1", "Warnings": []}

    async def start(self, ref: str, host: dict[str, Any] | None = None) -> None:
        if ref == "bug":
            raise ZeroDivisionError
        if ref == "taken":
            raise Conflict("in use")
        raise NotFound(f"No such container: {ref}")

    async def wait(self, ref: str, condition: str) -> asyncio.Future[dict[str, Any]]:
        return self.exit


class Images:
    """Answers what is asked of progress streams."""

    async def load(
        self, archive: AsyncIterator[bytes], *, quiet: bool, platform: str | None, emit: Any
    ) -> None:
        size = 0
        async for chunk in archive:
            size += len(chunk)
        if not size:
            raise NotFound("empty archive")
        await asyncio.to_thread(emit, {"stream": f"{size}"})
        if size == 13:
            raise Conflict("unlucky")

    async def import_(self, *_: Any, **__: Any) -> None:
        raise NotFound("nothing there")

    async def inspect(self, name: str, **_: Any) -> dict[str, Any]:
        return {"Id": name, "Size": 7, "Config": {}}


class System:
    async def version(self) -> dict[str, Any]:
        return {"Version": "1"}


@asynccontextmanager
async def serving(
    folder: Path,
    address: Address | None = None,
    tls: TLSFiles | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[SimpleNamespace]:
    """A server over a fake engine; ``path`` is its socket, ``engine`` the engine."""
    path = str(folder / "api.sock")
    engine = SimpleNamespace(
        containers=Containers(),
        images=Images(),
        system=System(),
        config=EngineConfig(),
        events=EventBus(StateDB(":memory:")),
    )
    server = Api(engine, ALL).server()
    listeners = Listeners(server.connection, limits)
    await listeners.open(address or Address("unix", path), tls=tls)
    try:
        yield SimpleNamespace(path=path, engine=engine)
    finally:
        listeners.close()
        engine.events.close()
        await server.shutdown(0.1)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def exchange(path: str, request: bytes, *, finish: bool = False) -> bytes:
    """Send raw bytes to a unix socket and read until the server hangs up."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    if finish:
        writer.write_eof()
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


async def get(
    path: str, target: str, method: str = "GET", *headers: str, body: bytes = b""
) -> bytes:
    """One request on a connection that closes after it; the raw answer."""
    lines = [f"{method} {target} HTTP/1.1", "Host: engine", "Connection: close", *headers]
    if body:
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return await exchange(path, ("\r\n".join(lines) + "\r\n\r\n").encode() + body)
