"""Debian's docker-registry on a port of its own, and a proxy that breaks lines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

CONFIG = """\
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {data}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
{extra}
"""


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def docker_registry(folder: Path, extra: str = "") -> Iterator[str]:
    """Run the registry; gives ``127.0.0.1:port``. ``extra`` is more of its configuration."""
    port = free_port()
    config = folder / f"registry-{port}.yml"
    config.write_text(CONFIG.format(data=folder / f"registry-{port}", port=port, extra=extra))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.asynccontextmanager
async def breaking_proxy(
    target: str, budget: Callable[[], int | None]
) -> AsyncIterator[tuple[str, list[int]]]:
    """A TCP proxy that cuts each connection after as many answered bytes as ``budget`` says.

    Gives its address and a list of the bytes that each connection carried to the client.
    """
    host, _, port = target.partition(":")
    carried: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = budget()
        carried.append(0)
        number = len(carried) - 1
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return

        async def answer() -> None:
            while data := await upstream_reader.read(65536):
                if limit is not None:
                    data = data[: limit - carried[number]]
                carried[number] += len(data)
                writer.write(data)
                await writer.drain()
                if limit is not None and carried[number] >= limit:
                    writer.transport.abort()
                    return

        async def ask() -> None:
            while data := await reader.read(65536):
                upstream_writer.write(data)
                await upstream_writer.drain()

        tasks = [asyncio.create_task(answer()), asyncio.create_task(ask())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            upstream_writer.close()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        address = server.sockets[0].getsockname()
        yield f"127.0.0.1:{address[1]}", carried
    finally:
        server.close()


@dataclass(frozen=True)
class Fault:
    """What a faulty registry does to one request.

    ``status`` answers without asking the registry. ``cut`` closes the connection after so many
    bytes of the answer's body (-1: instead of an answer, after the registry did its work),
    ``cut_request`` after so many bytes of the request's. ``delay`` waits first, in seconds.
    ``length`` is added to the Content-Length of the answer, ``flip`` inverts its last byte.
    ``digest`` is what the answer says is its digest.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    cut_request: int | None = None
    delay: float = 0
    length: int = 0
    flip: bool = False
    digest: str = ""


@dataclass
class Seen:
    """A request that went through: bytes of bodies, ``sent`` to the registry and ``got`` back."""

    method: str
    path: str
    sent: int = 0
    got: int = 0


@contextlib.asynccontextmanager
async def faulty_registry(
    target: str, choose: Callable[[Seen, int], Fault | None]
) -> AsyncIterator[tuple[str, list[Seen]]]:
    """A registry in front of ``target`` that behaves as ``choose`` says for each request.

    ``choose`` gets the request and how many like it (method and kind of path) came before. Gives
    the address and what went through.
    """
    seen: list[Seen] = []
    counts: Counter[tuple[str, str]] = Counter()

    async def answer(request: web.Request) -> web.StreamResponse:
        mark = Seen(request.method, request.path)
        kind = (request.method, _kind(request.path))
        fault = choose(mark, counts[kind]) or Fault()
        counts[kind] += 1
        seen.append(mark)
        await asyncio.sleep(fault.delay)
        if fault.status:
            await request.read()
            return web.Response(status=fault.status, headers=fault.headers)
        return await _forward(request, mark, fault)

    async def _forward(request: web.Request, mark: Seen, fault: Fault) -> web.StreamResponse:
        assert request.transport is not None

        async def body() -> AsyncIterator[bytes]:
            async for piece in request.content.iter_any():
                if fault.cut_request is not None:
                    piece = piece[: fault.cut_request - mark.sent]
                mark.sent += len(piece)
                yield piece
                if fault.cut_request is not None and mark.sent >= fault.cut_request:
                    assert request.transport is not None
                    request.transport.abort()
                    raise ConnectionResetError("cut")

        headers = {
            key: value
            for key, value in request.headers.items()
            if key not in ("Transfer-Encoding", "Content-Length")
        }
        length = request.content_length
        if length is not None and fault.cut_request is None:
            headers["Content-Length"] = str(length)
        async with client.request(
            request.method,
            f"http://{target}{request.raw_path}",
            headers=headers,
            data=body() if request.can_read_body else None,
            allow_redirects=False,
        ) as reply:
            data = await reply.read()
            if fault.cut == -1:
                request.transport.abort()
                raise ConnectionResetError("cut")
            response = web.StreamResponse(status=reply.status)
            response.headers.update(reply.headers)
            if fault.digest:
                response.headers["Docker-Content-Digest"] = fault.digest
            if request.method == "HEAD":
                return response
            if fault.flip and data:
                data = data[:-1] + bytes([data[-1] ^ 255])
            response.content_length = len(data) + fault.length
            await response.prepare(request)
            data = data[: fault.cut][: response.content_length]
            mark.got = len(data)
            await response.write(data)
            if len(data) < response.content_length:
                request.transport.close()
            return response

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            address = site._server.sockets[0].getsockname()  # type: ignore[union-attr]
            yield f"127.0.0.1:{address[1]}", seen
        finally:
            await runner.cleanup()


def _kind(path: str) -> str:
    for kind in ("/manifests/", "/blobs/uploads/", "/blobs/"):
        if kind in path:
            return kind
    return path
