"""``RUN --mount=type=ssh``: an SSH agent's socket where a build can reach it.

The agent belongs to somebody else and asks who its clients are (``SO_PEERCRED``); so a step gets
a socket of its own, and each connection to it is passed on by this process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from wherry.builder.request import Agents

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_CHUNK = 1 << 16


def agents_at(sockets: Mapping[str, str]) -> Agents:
    """Agents that answer at sockets of this host, by id."""

    async def forward(name: str, path: str, resources: AsyncExitStack) -> bool:
        agent = sockets.get(name)
        if agent is None:
            return False
        await resources.enter_async_context(served(path, partial(_pass_on, agent)))
        return True

    return forward


@asynccontextmanager
async def served(path: str, talk: Talk) -> AsyncIterator[None]:
    """Answer at the new socket ``path`` meanwhile, each connection by a call of ``talk``."""
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        finally:
            talks.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        for task in tuple(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        with suppress(FileNotFoundError):
            os.unlink(path)


async def _pass_on(agent: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        answers, questions = await asyncio.open_unix_connection(agent)
    except OSError:
        return  # to the command it looks like an agent that has gone
    try:
        await asyncio.gather(_copy(reader, questions), _copy(answers, writer))
    finally:
        questions.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
