"""Progress streams: JSON objects, one a line, CRLF between, errors inside once it has begun.

What fails before the first object is an ordinary error answer with its status code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from wherry.api.call import Call
from wherry.api.errors import INTERNAL, shortage, status_of
from wherry.api.replies import Stream
from wherry.errors import WherryError

log = logging.getLogger(__name__)

Emit = Callable[[Mapping[str, Any]], None]


async def stream_progress(
    call: Call, work: Callable[[Emit], Awaitable[object]], *, fails_by_status: bool = True
) -> web.StreamResponse:
    """Run ``work`` and send what it emits, from any thread, to the client as it comes.

    Without ``fails_by_status`` every failure is told inside the stream.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()

    def emit(item: Mapping[str, Any]) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    async def run() -> None:
        try:
            await work(emit)
        finally:
            loop.call_soon(queue.put_nowait, None)

    task = asyncio.create_task(run())
    stream: Stream | None = None
    try:
        while (item := await queue.get()) is not None:
            stream = stream or await Stream.open(call, "application/json")
            await stream.write_json(item, b"\r\n")
        try:
            await task
        except Exception as error:
            if stream is None and fails_by_status:
                raise
            stream = stream or await Stream.open(call, "application/json")
            await stream.write_json(failure(error), b"\r\n")
        stream = stream or await Stream.open(call, "application/json")
        return await stream.close()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def failure(error: Exception) -> dict[str, Any]:
    """The object that ends a stream whose work has failed."""
    if isinstance(error, WherryError):
        text = str(error)
        detail: dict[str, Any] = {"message": text}
        if (status := status_of(error)) in (401, 403):
            detail["code"] = status
        return {"errorDetail": detail, "error": text}
    scarce = shortage(error)
    text = str(scarce or INTERNAL)
    log.error("a request with progress failed: %s", text, exc_info=None if scarce else error)
    return {"errorDetail": {"message": text}, "error": text}
