"""A mirror of a registry that needs a login shows nobody more than its readers may see."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from wherry.errors import InvalidParameter
from wherry.hub.accounts.passwords import hash_password
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig, UpstreamConfig
from wherry.hub.demo import push_manifest
from wherry.hub.hub import HUB, Hub
from wherry.hub.records import organisations, repositories, users

from .conftest import PASSWORD, World, basic

NAME = "mirror/acme/secret"
ARTIFACT = "application/vnd.example.signature"


@dataclasses.dataclass
class Mirror:
    """A hub that mirrors another one, and what it asks of it."""

    hub: Hub
    client: aiohttp.ClientSession
    asked: list[str]

    async def get(self, who: str, path: str, name: str = NAME) -> tuple[int, Any, str]:
        """Status, JSON and Link of what somebody gets with a bearer token."""
        header = {} if who == "anonymous" else {"Authorization": basic(who, PASSWORD)}
        query = {"scope": f"repository:{name}:pull"}
        async with self.client.get("/token", params=query, headers=header) as answer:
            bearer = {"Authorization": f"Bearer {(await answer.json())['token']}"}
        async with self.client.get(f"/v2/{name}/{path}", headers=bearer) as answer:
            link = answer.headers.get("Link", "")
            return answer.status, await answer.json(content_type=None), link


@asynccontextmanager
async def mirror(folder: Path, upstream: UpstreamConfig, **config: Any) -> AsyncIterator[Mirror]:
    app = make_app(HubConfig(data=folder, upstreams=(upstream,), **config))
    hub = app[HUB]
    hashed = hash_password(PASSWORD)
    made = {
        name: await hub.db.write(users.create, name, hashed, admin=name == "root")
        for name in ("root", "ann", "eve")
    }
    owner = await hub.db.read(organisations.find, "mirror")
    assert owner is not None
    await hub.db.write(organisations.set_member, owner.id, made["ann"].id, manager=False)
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as client:
        yield Mirror(hub, client, [])


@pytest.fixture
async def far(world: World) -> AsyncIterator[UpstreamConfig]:
    """The other hub: an image with three tags and a signature, for those who log in."""
    repository = await world.hub.db.read(repositories.find, "acme/secret")
    assert repository is not None
    await push_manifest(world.hub, repository, world.image.manifest, ("2", "3"), "owner")
    signature = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": ARTIFACT,
        "config": json.loads(world.image.manifest)["config"],
        "layers": [],
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": world.image.digest,
            "size": len(world.image.manifest),
        },
    }
    await push_manifest(world.hub, repository, json.dumps(signature).encode(), (), "owner")
    yield UpstreamConfig("mirror", world.url("/"), "reader", PASSWORD)


async def test_what_the_hub_logs_in_for_is_private(
    world: World, far: UpstreamConfig, tmp_path: Path
) -> None:
    async with mirror(tmp_path / "near", far) as near:
        paths = ("manifests/1", "tags/list", f"referrers/{world.image.digest}")
        for _ in range(2):  # before and after it was cached
            for who in ("anonymous", "eve"):
                for path in paths:
                    assert (await near.get(who, path))[0] in (401, 404), (who, path)
            for who in ("ann", "root"):
                for path in paths:
                    assert (await near.get(who, path))[0] == 200, (who, path)
        cached = await near.hub.db.read(repositories.find, NAME)
        assert cached is not None
        assert cached.private


async def test_nobody_makes_the_hub_fetch_what_they_may_not_see(
    world: World, far: UpstreamConfig, tmp_path: Path
) -> None:
    async with mirror(tmp_path / "near", far) as near:
        for who in ("anonymous", "eve"):
            await near.get(who, "manifests/1")
        assert await near.hub.db.read(repositories.find, NAME) is None


@pytest.mark.parametrize(
    ("choice", "by_default", "private"),
    [(False, False, False), (None, True, True), (True, False, True)],
)
async def test_the_operator_chooses(
    world: World,
    far: UpstreamConfig,
    tmp_path: Path,
    choice: bool | None,
    by_default: bool,
    private: bool,
) -> None:
    upstream = dataclasses.replace(far, private=choice)
    if choice is None:
        upstream = dataclasses.replace(upstream, username="", password="")
    async with mirror(tmp_path / "near", upstream, private_by_default=by_default) as near:
        name = "mirror/acme/open"
        assert (await near.get("root", "manifests/1", name))[0] == 200
        cached = await near.hub.db.read(repositories.find, name)
        assert cached is not None
        assert cached.private == private
        status, _, _ = await near.get("anonymous", "manifests/1", name)
        assert status == (401 if private else 200)


async def test_lists_are_those_of_the_upstream(
    world: World, far: UpstreamConfig, tmp_path: Path
) -> None:
    async with mirror(tmp_path / "near", far) as near:
        assert (await near.get("ann", "tags/list"))[1]["tags"] == ["1", "2", "3"]
        _, first, link = await near.get("ann", "tags/list?n=2")
        assert (first["tags"], first["name"]) == (["1", "2"], NAME)
        assert link == f'</v2/{NAME}/tags/list?n=2&last=2>; rel="next"'
        assert (await near.get("ann", "tags/list?n=2&last=2"))[1]["tags"] == ["3"]
        path = f"referrers/{world.image.digest}"
        (found,) = (await near.get("ann", path))[1]["manifests"]
        assert found["artifactType"] == ARTIFACT
        _, none, _ = await near.get("ann", f"{path}?artifactType=other/kind")
        assert none["manifests"] == []
        # Without the upstream: what is here.
        assert (await near.get("ann", "manifests/2"))[0] == 200
        await world.server.close()
        assert (await near.get("ann", "tags/list"))[1]["tags"] == ["2"]
        assert (await near.get("ann", path))[1]["manifests"] == []


async def test_what_was_cached_for_everybody_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upstream = UpstreamConfig("mirror", "http://127.0.0.1:9")
    async with mirror(tmp_path / "near", upstream) as near:
        await near.hub.db.write(repositories.create, NAME, private=False)
        await near.hub.db.write(repositories.create, "ann/app", private=False)
    caplog.clear()
    for username, told in (("", False), ("reader", True)):
        later = dataclasses.replace(upstream, username=username)
        await Hub(HubConfig(data=tmp_path / "near", upstreams=(later,))).close()
        assert ("1 cached repositories of mirror are public" in caplog.text) == told


Handler = Callable[[web.Request], Awaitable[web.Response]]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000, b"[]", b'{"tags": null}', b'{"tags": [1, "../x", "ok"]}', b"\xff",
        b'{"manifests": [1, {}, {"digest": "sha256:x", "mediaType": "a", "size": 1}]}',
        b'{"manifests": {"a": 1}}', b" " * 5_000_000,
    ],
)  # fmt: skip
async def test_hostile_lists(tmp_path: Path, body: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Link": '<http://127.0.0.1/>; rel="next"'})

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    async with TestServer(app) as server:
        upstream = UpstreamConfig("mirror", str(server.make_url("/")))
        async with mirror(tmp_path / "near", upstream) as near:
            status, listed, _ = await near.get("ann", "tags/list")
            assert status in (200, 404)
            assert set(listed.get("tags", [])) <= {"ok"}
            status, listed, _ = await near.get("ann", f"referrers/sha256:{'0' * 64}")
            assert listed.get("manifests", []) == []
            assert status in (200, 404)


@pytest.mark.parametrize(
    "upstream",
    [UpstreamConfig("mirror", "not a url"), UpstreamConfig("Bad/Owner", "http://example.com")],
)
def test_an_upstream_that_is_none_is_told_at_the_start(
    tmp_path: Path, upstream: UpstreamConfig
) -> None:
    with pytest.raises(InvalidParameter):
        Hub(HubConfig(data=tmp_path, upstreams=(upstream,)))
