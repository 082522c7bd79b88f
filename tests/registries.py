"""Debian's docker-registry on a port of its own, and a proxy that breaks lines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

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
