"""Garbage collection beside pushes, retention, trash, webhooks, the pull-through cache."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from wherry.errors import Conflict
from wherry.hub import collector, demo, retention, webhooks
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig, UpstreamConfig
from wherry.hub.demo import Image, Step, make_image, make_index, push_image, push_manifest
from wherry.hub.hub import HUB, Hub
from wherry.hub.records import blobs, images, manifests, repositories, restore
from wherry.hub.records.repositories import Repository
from wherry.hub.registry import uploads
from wherry.hub.registry.manifests import remove
from wherry.hub.schema import webhooks as webhook_table

HOUR = 3600


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    opened = Hub(HubConfig(data=tmp_path / "hub", collect_grace=HOUR, trash_lifetime=10 * HOUR))
    yield opened
    await opened.close()


async def repository(hub: Hub, name: str = "team/app") -> Repository:
    return await hub.db.write(repositories.create, name, private=False)


def image(text: str, shared: str = "shared") -> Image:
    return make_image(
        [
            Step("ADD base", {"base": shared.encode() * 50}),
            Step(f"RUN {text}", {"x": text.encode()}),
        ]
    )


def stored(hub: Hub) -> int:
    return sum(1 for path in (hub.config.data / "blobs").rglob("*") if path.is_file())


async def test_nothing_that_is_needed_is_collected(hub: Hub) -> None:
    repo = await repository(hub)
    await push_image(hub, repo, image("one"), ("1",), "ann")
    before = stored(hub)
    done = await collector.collect(hub, now=time.time() + 2 * HOUR, sweep=True)
    assert (done.blobs, done.links, done.orphans) == (0, 0, 0)
    assert stored(hub) == before


async def test_deleted_images_go_after_trash_and_grace(hub: Hub) -> None:
    repo = await repository(hub)
    for number in ("one", "two"):
        await push_image(hub, repo, image(number), (number,), "ann")
    total = stored(hub)
    await hub.db.write(remove, repo, image("one").digest, "ann", "")
    assert (await collector.collect(hub, now=time.time() + 2 * HOUR)).blobs == 0
    done = await collector.collect(hub, now=time.time() + 20 * HOUR)
    assert done.blobs == 2  # its own layer and its config; the base is shared
    assert stored(hub) == total - 2
    for digest in image("two").blobs:
        assert await hub.db.read(blobs.has, repo.id, digest)


async def test_a_deleted_tag_comes_back_with_its_image(hub: Hub) -> None:
    repo = await repository(hub)
    parts = {"amd64": image("amd"), "arm64": image("arm")}
    for each in parts.values():
        await push_image(hub, repo, each, (), "ann")
    index = make_index(parts)
    await push_manifest(hub, repo, index, ("multi",), "ann")
    digest = demo.digest_of(index)
    await hub.db.write(remove, repo, digest, "ann", "")
    for each in parts.values():
        await hub.db.write(remove, repo, each.digest, "ann", "")
    await collector.collect(hub, now=time.time() + 2 * HOUR)
    assert await hub.db.read(manifests.by_tag, repo.id, "multi") is None
    (entry,) = await hub.db.read(images.trash, repo.id)
    assert await hub.db.write(restore.restore_tag, repo.id, entry["id"], "ann") == "multi"
    for reference in (digest, *(each.digest for each in parts.values())):
        assert await hub.db.read(manifests.by_digest, repo.id, reference) is not None


async def test_restoring_needs_the_name_and_the_blobs(hub: Hub) -> None:
    repo = await repository(hub)
    await push_image(hub, repo, image("one"), ("1",), "ann")
    await hub.db.write(remove, repo, "1", "ann", "")
    await push_image(hub, repo, image("two"), ("1",), "ann")
    (entry,) = await hub.db.read(images.trash, repo.id)
    with pytest.raises(Conflict, match="again"):
        await hub.db.write(restore.restore_tag, repo.id, entry["id"], "ann")
    await hub.db.write(remove, repo, "1", "ann", "")
    for digest in image("one").blobs:
        await hub.db.write(blobs.unlink, repo.id, digest)
    entry = (await hub.db.read(images.trash, repo.id))[1]
    with pytest.raises(Conflict, match="gone"):
        await hub.db.write(restore.restore_tag, repo.id, entry["id"], "ann")


async def test_abandoned_uploads_and_orphans_are_swept(hub: Hub) -> None:
    repo = await repository(hub)
    await uploads.begin(hub, repo, "ann")
    orphan = hub.config.data / "blobs/sha256/aa/aaaa.bbbb"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"left by a crash")
    done = await collector.collect(hub, now=time.time() + 30 * 24 * HOUR, sweep=True)
    assert (done.uploads, done.orphans) == (1, 1)
    assert not orphan.exists()
    assert not os.listdir(hub.config.data / "uploads")


async def test_collector_running_all_the_time_never_loses_a_needed_blob(tmp_path: Path) -> None:
    """Pushes, deletions and a collector without any grace race; whole images stay whole."""
    hub = Hub(HubConfig(data=tmp_path / "race", collect_grace=-10, trash_lifetime=-10))
    repos = [await repository(hub, f"team/r{n}") for n in range(3)]
    stop = asyncio.Event()
    chance = random.Random(0)

    async def collect() -> None:
        while not stop.is_set():
            await collector.collect(hub)
            await asyncio.sleep(chance.random() / 20)

    async def push(repo: Repository, made: Image, tag: str) -> None:
        # A blob may be collected between upload and manifest: that push fails, honestly, and is
        # tried again.
        for _ in range(100):
            with contextlib.suppress(demo.manifests.RegistryError, AssertionError):
                await push_image(hub, repo, made, (tag,), "ann")
                return
        raise AssertionError("no push came through")

    async def work(seed: int) -> None:
        chance = random.Random(seed)
        for turn in range(25):
            repo = chance.choice(repos)
            made = image(f"{chance.randrange(5)}", shared=f"{chance.randrange(2)}")
            await push(repo, made, f"t{seed}")
            if turn % 3 == 0 and turn < 24:
                await hub.db.write(manifests.remove_tag, repo.id, f"t{seed}", "ann")

    collecting = asyncio.create_task(collect())
    await asyncio.gather(*(work(seed) for seed in range(4)))
    stop.set()
    await collecting
    checked = 0
    for repo in repos:
        for tag in await hub.db.read(manifests.tag_names, repo.id, "", None):
            manifest = await hub.db.read(manifests.by_tag, repo.id, tag)
            assert manifest is not None
            document = json.loads(manifest.content)
            for entry in (document["config"], *document["layers"]):
                found = await hub.db.read(blobs.find, repo.id, entry["digest"])
                assert found is not None, "a blob of a tagged image was collected"
                content = (hub.config.data / "blobs" / found[0].location).read_bytes()
                assert demo.digest_of(content) == entry["digest"]
                checked += 1
    await hub.close()
    assert checked > 0


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        ({}, []),
        ({"keep_last": 2}, ["c", "d"]),
        ({"keep_days": 25}, ["d"]),
        ({"keep_last": 1, "keep_days": 15}, ["c", "d"]),
        ({"keep_last": 1, "keep_tags": "d b*"}, ["c"]),
        ({"keep_tags": "a"}, []),
    ],
)
def test_retention_rules(rules: dict[str, Any], gone: list[str]) -> None:
    day = 86_400
    tags = [("a", 100 * day), ("b", 90 * day), ("c", 80 * day), ("d", 70 * day)]
    assert retention.expired_tags(tags, rules, now=101 * day) == gone


async def test_retention_spares_immutable_tags(hub: Hub) -> None:
    repo = await repository(hub)
    for tag in ("v1", "old", "new"):
        await push_image(hub, repo, image(tag), (tag,), "ann")
    await hub.db.write(
        lambda conn: repositories.change(
            conn, repo.id, immutable_tags="v*", retention={"keep_days": 1, "untagged_days": 1}
        )
    )
    assert await retention.apply_all(hub, now=time.time() + 3 * 86_400) == 4
    assert await hub.db.read(manifests.tag_names, repo.id, "", None) == ["v1"]


async def test_webhooks_are_signed_and_retried(hub: Hub) -> None:
    calls: list[tuple[str, bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        calls.append((request.headers["X-Hub-Signature-256"], await request.read()))
        return web.Response(status=500 if len(calls) == 1 else 204)

    app = web.Application()
    app.router.add_post("/hook", receive)
    server = TestServer(app)
    await server.start_server()
    repo = await repository(hub)
    await hub.db.write(
        lambda conn: conn.execute(
            webhook_table.insert().values(
                repository_id=repo.id, url=str(server.make_url("/hook")), secret="s", created=0
            )
        )
    )
    await push_image(hub, repo, image("one"), ("1",), "ann")
    assert await webhooks.deliver(hub.db, private=True) == 1
    assert await webhooks.deliver(hub.db, private=True) == 0
    later = int(time.time()) + 20
    (again,) = await hub.db.write(webhooks.claim, later)
    assert again.attempts == 1
    await server.close()
    signature, body = calls[0]
    assert signature == "sha256=" + hmac.new(b"s", body, hashlib.sha256).hexdigest()
    event = json.loads(body)
    assert (event["event"], event["repository"], event["tags"]) == ("push", "team/app", ["1"])


async def test_pull_through_cache(tmp_path: Path) -> None:
    far_app = make_app(HubConfig(data=tmp_path / "far"))
    far = TestServer(far_app)
    await far.start_server()
    far_hub = far_app[HUB]
    repo = await repository(far_hub, "team/app")
    made = image("far")
    await push_image(far_hub, repo, made, ("1",), "ann")
    upstream = UpstreamConfig("mirror", str(far.make_url("/")), fresh_seconds=0)
    near_app = make_app(HubConfig(data=tmp_path / "near", upstreams=(upstream,)))
    near = TestServer(near_app)
    await near.start_server()
    import aiohttp

    async with aiohttp.ClientSession(near.make_url("/")) as session:

        async def get(path: str) -> tuple[int, bytes]:
            async with session.get(f"/v2/mirror/team/app/{path}") as answer:
                return answer.status, await answer.read()

        assert (await get("manifests/nope"))[0] in (401, 404)
        assert await get("manifests/1") == (200, made.manifest)
        for digest, content in made.blobs.items():
            assert await get(f"blobs/{digest}") == (200, content)
        newer = image("newer")
        await push_image(far_hub, repo, newer, ("1",), "ann")
        assert await get("manifests/1") == (200, newer.manifest)
        await far.close()
        assert await get("manifests/1") == (200, newer.manifest)
        for digest, content in made.blobs.items():
            assert await get(f"blobs/{digest}") == (200, content)
    await near.close()
