"""Shows a client a blob of an upstream while it is still being fetched and stored.

The download goes at its own pace and ends whether or not the client stays. A client that
cannot keep up gets the rest from the storage, once it is there. The last bytes are held back
until the digest was checked, so that nobody ever receives the whole of a wrong blob.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from wherry.errors import NotFound
from wherry.hub.hub import Hub
from wherry.hub.records import blobs
from wherry.hub.records.repositories import Repository
from wherry.hub.registry import upstream

_AHEAD = 4 * 1024 * 1024


class Follower:
    """What a download has brought that its client has not taken yet, up to some megabytes."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.size: asyncio.Future[int | None] = loop.create_future()
        self.stored: asyncio.Future[bool] = loop.create_future()
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._ahead = 0
        self._lost = False

    def begin(self, size: int | None) -> None:
        """The download starts."""
        if not self.size.done():
            self.size.set_result(size)

    def show(self, chunk: bytes) -> None:
        """Keeps ``chunk`` for the client, unless it is too far behind already."""
        self._lost = self._lost or self._ahead + len(chunk) > _AHEAD
        if not self._lost:
            self._ahead += len(chunk)
            self._chunks.put_nowait(chunk)

    def end(self, stored: bool) -> None:
        """The download is over."""
        self.begin(None)
        self.stored.set_result(stored)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the first on, until the download ends or the client was too slow."""
        while not (self._chunks.empty() and (self._lost or self.stored.done())):
            if self._chunks.empty():
                following = asyncio.ensure_future(self._chunks.get())
                either: set[asyncio.Future[Any]] = {following, self.stored}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    continue
                chunk = following.result()
            else:
                chunk = self._chunks.get_nowait()
            self._ahead -= len(chunk)
            yield chunk


async def relay(
    hub: Hub, request: web.Request, repository: Repository, digest: str, headers: dict[str, str]
) -> web.StreamResponse | None:
    """Answers with a blob that is only at the upstream; None when it is here, or nowhere."""
    if upstream.upstream_of(hub, repository.name) is None:
        return None
    if await hub.db.read(blobs.has, repository.id, digest):
        return None
    follower = Follower()
    hub.background(_fetch(hub, repository, digest, follower))
    size = await follower.size
    if size is None:
        await follower.stored
        return None
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    await response.prepare(request)
    sent = 0
    async for chunk in follower.chunks():
        if sent + len(chunk) >= size and not await follower.stored:
            break
        await response.write(chunk)
        sent += len(chunk)
    if sent < size and await follower.stored:
        async for chunk in _stored(hub, repository, digest, sent):
            await response.write(chunk)
            sent += len(chunk)
    hub.metrics.event("blob_bytes_sent", sent)
    if sent < size:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError(f"{digest} did not come from the upstream")
    await response.write_eof()
    return response


async def _fetch(hub: Hub, repository: Repository, digest: str, follower: Follower) -> None:
    stored = False
    try:
        stored = await upstream.fetch_blob(hub, repository, digest, follower)
    finally:
        follower.end(stored)


async def _stored(
    hub: Hub, repository: Repository, digest: str, offset: int
) -> AsyncIterator[bytes]:
    found = await hub.db.read(blobs.find, repository.id, digest)
    if found is None:
        raise NotFound(f"{digest} is gone")
    blob = found[0]
    async for chunk in hub.storage.open(blob.location, offset, blob.size - offset):
        yield chunk
