"""Jobs of running hubs: webhooks arrive, retention works by itself, each job has one runner."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from wherry.hub import housekeeping, jobs, webhooks
from wherry.hub.config import HubConfig
from wherry.hub.database import Database
from wherry.hub.hub import Hub
from wherry.hub.migrations.run import migrate
from wherry.hub.records import jobs as records
from wherry.hub.records import repositories
from wherry.hub.schema import deliveries, renderings
from wherry.hub.schema import webhooks as webhook_table

from .conftest import RunningHub, StartHub, add_users
from .site import PASSWORD, Visitor
from .test_backends import push_image

_CONFIG = "webhooks_to_private_addresses = true\ncollect_interval = 1\n"


@dataclass
class Receiver:
    """A listener for webhooks that keeps what it was sent."""

    calls: asyncio.Queue[tuple[str, dict[str, object]]] = field(default_factory=asyncio.Queue)
    url: str = ""

    async def receive(self, request: web.Request) -> web.Response:
        await self.calls.put((request.headers["X-Hub-Delivery"], await request.json()))
        return web.Response(status=204)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/hook", made.receive)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/hook"))
    yield made
    await server.close()


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            if await check():
                return
            await asyncio.sleep(0.1)


async def tags_of(session: aiohttp.ClientSession, hub: RunningHub, name: str) -> list[str]:
    async with session.get(f"{hub.url}/v2/{name}/tags/list") as answer:
        return list((await answer.json())["tags"] or [])


async def test_webhooks_arrive_and_retention_removes_tags(
    database: str, start_hub: StartHub, receiver: Receiver, tmp_path: Path
) -> None:
    add_users(database, PASSWORD, "ann")
    config = tmp_path / "hub.toml"
    config.write_text(_CONFIG)
    arguments = ("--config", str(config), "--db", database)
    hubs = [start_hub(*arguments), start_hub(*arguments, "--workers", "2")]
    login = {"Authorization": aiohttp.encode_basic_auth("ann", PASSWORD)}
    async with Visitor(hubs[0]) as ann, aiohttp.ClientSession(headers=login) as session:
        assert await ann.log_in("ann") == 200
        await push_image(session, hubs[0], "ann/app", "first", b"first layer")
        assert await ann.send("/r/ann/app/-/webhooks", url=receiver.url) == 200
        for number in range(4):
            hub = hubs[number % 2]
            await push_image(session, hub, "ann/app", f"t{number}", f"layer {number}".encode())
        pushes = [await asyncio.wait_for(receiver.calls.get(), 60) for _ in range(4)]
        assert sorted(str(event["tags"]) for _, event in pushes) == [
            f"['t{number}']" for number in range(4)
        ]
        assert len(await tags_of(session, hubs[0], "ann/app")) == 5

        assert await ann.send("/r/ann/app/-/settings", keep_last="2") == 200
        await until(lambda: _kept(session, hubs[0], 2))
        deletions = [await asyncio.wait_for(receiver.calls.get(), 60) for _ in range(3)]
        assert {event["event"] for _, event in deletions} == {"delete"}
        ids = [delivery for delivery, _ in pushes + deletions]
        assert len(set(ids)) == 7
        assert receiver.calls.empty(), "a call was made twice"

        page = (await ann.get("/admin"))[1]
        for name in ("retention", "garbage collection", "webhooks", "housekeeping"):
            assert f"<td>{name}</td>" in page
        assert "tags and manifests moved to the trash" in page
        metrics = (await ann.get("/metrics"))[1]
        assert 'wherry_hub_job_failures{job="retention"} 0' in metrics
        ran = metrics.partition('wherry_hub_job_runs{job="retention"} ')[2].split("\n")[0]
        assert int(ran) >= 1


async def _kept(session: aiohttp.ClientSession, hub: RunningHub, count: int) -> bool:
    return len(await tags_of(session, hub, "ann/app")) == count


def test_one_of_many_gets_a_lease_and_keeps_it_until_it_ends(database: str) -> None:
    first = Database(database)
    migrate(first)
    databases = [first, *(Database(database) for _ in range(3))]
    first.run(records.enrol, "work", 100)
    first.run(records.enrol, "work", 200)
    assert first.run(records.due, 99) == []

    def claim(number: int) -> bool:
        return databases[number].run(records.claim, "work", f"holder {number}", 100, 60)

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(claim, range(4)))
    assert won.count(True) == 1
    holder = f"holder {won.index(True)}"
    assert first.run(records.due, 159) == []
    assert first.run(records.extend, "work", holder, 220)
    assert first.run(records.due, 219) == []
    # The holder is gone: another takes over, and what the first may still say changes nothing.
    assert first.run(records.claim, "work", "heir", 220, 60)
    assert not first.run(records.extend, "work", holder, 500)
    first.run(records.settle, "work", holder, 221, 300, "late", failed=True)
    first.run(records.settle, "work", "heir", 230, 330, "done", failed=False)
    (state,) = first.run(records.listing)
    assert (state.outcome, state.runs, state.failures, state.next_run) == ("done", 1, 0, 330)
    for each in databases:
        each.close()


async def test_a_failing_job_says_so_and_runs_again(tmp_path: Path) -> None:
    hub = Hub(HubConfig(data=tmp_path / "hub"))
    ran: asyncio.Queue[int] = asyncio.Queue()

    async def work(_hub: Hub) -> str:
        await ran.put(1)
        if ran.qsize() == 1:
            raise OSError("the disk is on fire")
        return "fine"

    hub.background(jobs.Runner(hub, (jobs.Job("work", 0, work),)).run())

    async def state() -> records.JobState:
        return (await hub.db.read(records.listing))[0]

    async def runs(count: int) -> bool:
        listed = await hub.db.read(records.listing)
        return bool(listed) and listed[0].runs >= count

    await until(lambda: runs(1))
    first = await state()
    assert (first.failures, first.failed, first.outcome) in [
        (1, True, "OSError: the disk is on fire"),
        (1, False, "fine"),
    ]
    await until(lambda: runs(2))
    assert not (await state()).failed
    await hub.close()


async def test_owners_share_webhook_batches_and_old_calls_are_forgotten(tmp_path: Path) -> None:
    hub = Hub(HubConfig(data=tmp_path / "hub"))
    now = int(time.time())

    async def wait(name: str, count: int) -> None:
        repository = await hub.db.write(repositories.create, name, private=False)

        def store(conn: object) -> None:
            made = conn.execute(  # type: ignore[attr-defined]
                webhook_table.insert().values(
                    repository_id=repository.id, url="http://x/", secret="s", created=0
                )
            )
            hook = made.inserted_primary_key[0]
            for _ in range(count):
                conn.execute(  # type: ignore[attr-defined]
                    deliveries.insert().values(
                        webhook_id=hook,
                        event="push",
                        payload=json.dumps({"repository": name}),
                        next_attempt=now - 10,
                        created=now,
                    )
                )

        await hub.db.write(store)

    await wait("loud/app", 100)
    await wait("calm/app", 1)
    claimed = await hub.db.write(webhooks.claim, now)
    names = [json.loads(delivery.payload)["repository"] for delivery in claimed]
    assert names.count("calm/app") == 1
    assert 0 < names.count("loud/app") < 10

    key = {"key": "k", "html": "", "created": now - 40 * 86_400}
    await hub.db.write(lambda conn: conn.execute(renderings.insert().values(**key)))
    assert "0 webhook calls, 1 rendered texts" in await housekeeping.tidy(hub)
    done = await housekeeping.tidy(hub, now=now + 31 * 86_400)
    assert "101 webhook calls" in done
    await hub.close()
