"""Requests that others make the hub send: none reaches the hub's own network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from wherry.hub import outbound
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig, UpstreamConfig
from wherry.hub.hub import HUB
from wherry.hub.records import repositories

HOSTS = (
    "127.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "１２７.0.0.1", "127.1", "2130706433", "localhost",
    "0.0.0.0", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]",
)  # fmt: skip


class Inside:
    """A service of the hub's own network that counts who comes."""

    def __init__(self) -> None:
        self.visits: list[str] = []

    async def visit(self, request: web.Request) -> web.Response:
        self.visits.append(str(request.url))
        return web.json_response({"token": "inside"})


def serve(handler: object, host: str) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)  # type: ignore[arg-type]
    return TestServer(app, host=host)


@pytest.fixture
async def inside() -> AsyncIterator[tuple[Inside, int]]:
    service = Inside()
    async with serve(service.visit, "0.0.0.0") as server:
        assert server.port is not None
        yield service, server.port


@pytest.mark.parametrize("host", HOSTS)
async def test_no_spelling_connects(inside: tuple[Inside, int], host: str) -> None:
    service, port = inside
    async with outbound.session(private=False) as session:
        with pytest.raises((aiohttp.ClientError, OSError)):
            await session.post(f"http://{host}:{port}/")
    assert service.visits == []


@pytest.mark.parametrize("host", ["127.0.0.2", "①②⑦.0.0.2", "127。0。0。2"])
async def test_redirects_and_realms_of_an_upstream_stay_outside(
    inside: tuple[Inside, int], host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.1 plays the internet here, 127.0.0.2 the network of the hub."""
    monkeypatch.setattr(outbound, "is_public", lambda address: address == "127.0.0.1")
    service, port = inside
    asked = []

    async def upstream(request: web.Request) -> web.Response:
        asked.append(request.path)
        if "redirected" in request.path:
            return web.Response(status=307, headers={"Location": f"http://{host}:{port}/x"})
        realm = f'Bearer realm="http://{host}:{port}/token",service="x"'
        return web.Response(status=401, headers={"WWW-Authenticate": realm})

    async with serve(upstream, "127.0.0.1") as far:
        mirror = UpstreamConfig("mirror", str(far.make_url("/")), "name", "password")
        app = make_app(HubConfig(data=tmp_path / "hub", upstreams=(mirror,)))
        digest = f"sha256:{'0' * 64}"
        async with TestServer(app) as near, aiohttp.ClientSession(near.make_url("/")) as client:
            for name in ("redirected", "challenged"):
                for path in ("manifests/1", f"blobs/{digest}"):
                    await app[HUB].db.write(repositories.create, f"mirror/{name}", private=False)
                    async with client.get(f"/v2/mirror/{name}/{path}") as answer:
                        assert answer.status == 404
    assert {path.split("/")[2] for path in asked} == {"redirected", "challenged"}
    assert service.visits == []
