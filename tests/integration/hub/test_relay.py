"""The pull-through cache shows a blob while it arrives, and never the whole of a wrong one."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from wherry.hub.app import make_app
from wherry.hub.config import HubConfig, UpstreamConfig
from wherry.hub.hub import HUB
from wherry.hub.records import repositories

HALF = 300_000
CONTENT = os.urandom(2 * HALF)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
BLOB = f"/v2/mirror/team/app/blobs/{DIGEST}"


@dataclass
class Far:
    """A registry that sends half of its only blob and waits for leave to send the rest."""

    second: bytes = CONTENT[HALF:]
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def blob(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse()
        response.content_length = len(CONTENT)
        await response.prepare(request)
        await response.write(CONTENT[:HALF])
        await self.go.wait()
        await response.write(self.second)
        await response.write_eof()
        return response


@asynccontextmanager
async def mirror(far: Far, folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a hub that mirrors ``far``."""
    app = web.Application()
    app.router.add_get("/v2/team/app/blobs/{digest}", far.blob)
    async with TestServer(app) as server:
        upstream = UpstreamConfig("mirror", str(server.make_url("/")))
        near_app = make_app(HubConfig(data=folder, upstreams=(upstream,)))
        await near_app[HUB].db.write(repositories.create, "mirror/team/app", private=False)
        async with (
            TestServer(near_app) as near,
            aiohttp.ClientSession(near.make_url("/")) as session,
        ):
            yield session


async def whole(session: aiohttp.ClientSession) -> bytes:
    async with session.get(BLOB) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_bytes_come_before_the_blob_is_stored(tmp_path: Path) -> None:
    far = Far()
    async with mirror(far, tmp_path) as session:
        async with session.get(BLOB) as answer:
            assert answer.content_length == len(CONTENT)
            assert await answer.content.readexactly(HALF) == CONTENT[:HALF]
            other = asyncio.create_task(whole(session))
            far.go.set()
            assert await answer.content.read() == CONTENT[HALF:]
        assert await other == await whole(session) == CONTENT
        assert far.asked == 1


async def test_a_client_that_leaves_does_not_stop_the_download(tmp_path: Path) -> None:
    far = Far()
    async with mirror(far, tmp_path) as session:
        async with session.get(BLOB) as answer:
            await answer.content.readexactly(HALF)
            answer.close()
        far.go.set()
        assert await whole(session) == CONTENT
        assert far.asked == 1


async def test_a_slow_client_gets_the_rest_from_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherry.hub.registry.relay._AHEAD", HALF // 3)
    far = Far()
    far.go.set()
    async with mirror(far, tmp_path) as session:
        assert await whole(session) == CONTENT
        assert far.asked == 1


async def test_nobody_gets_the_whole_of_a_wrong_blob(tmp_path: Path) -> None:
    far = Far(second=bytes(HALF))
    far.go.set()
    async with mirror(far, tmp_path) as session:
        with pytest.raises(aiohttp.ClientError):
            await whole(session)
        far.second = CONTENT[HALF:]
        assert await whole(session) == CONTENT
        assert far.asked == 2
