"""Long lists: what a request costs grows with what it shows, and no faster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.images import busybox_archive

from wherry.engine.engine import Engine
from wherry.engine.filters import Filters
from wherry.engine.slices import SIZE

pytestmark = pytest.mark.root

FEW, MANY = SIZE, 3 * SIZE
"""As many containers as one slice and as three have."""
Request = Callable[[Engine], Awaitable[Any]]


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine.embedded() as running:
        await running.images.load_file(str(busybox_archive()))
        yield running


async def fill(engine: Engine, number: int) -> None:
    """Make containers until there are ``number``: linked, with volumes, on a network."""
    there = len(await engine.containers.list(all=True))
    for position in range(there, number):
        links = [f"c{position - 1}:before", "c0"] if position else []
        host = {"Links": links, "Binds": [f"v{position}:/v"]}
        body = {"Image": "busybox", "HostConfig": host}
        await engine.containers.create(body, f"c{position}")


async def statements(engine: Engine, work: Request) -> int:
    """How many questions ``work`` asks the state store; events are written at any time."""
    asked: list[str] = []
    engine._db._connection.set_trace_callback(asked.append)
    try:
        await work(engine)
    finally:
        engine._db._connection.set_trace_callback(None)
    return sum(statement.startswith("SELECT") for statement in asked)


LISTS: dict[str, Request] = {
    "ps -a": lambda engine: engine.containers.list(all=True),
    "ps -as": lambda engine: engine.containers.list(all=True, size=True),
    "ps -a, by network": lambda engine: engine.containers.list(
        all=True, filters=Filters({"network": ("bridge",)})
    ),
    "system df": lambda engine: engine.system.df({"container", "image", "volume", "build-cache"}),
    "volume ls": lambda engine: engine.volumes.list(Filters({"dangling": ("0",)})),
    "network ls": lambda engine: engine.networks.list(Filters({"dangling": ("1",)})),
    "network inspect": lambda engine: engine.networks.inspect("bridge"),
    "info": lambda engine: engine.system.info(),
}


async def test_statements_grow_with_the_slices(engine: Engine) -> None:
    await fill(engine, FEW)
    few = {name: await statements(engine, work) for name, work in LISTS.items()}
    await fill(engine, MANY)
    many = {name: await statements(engine, work) for name, work in LISTS.items()}
    slices = (MANY - FEW) // SIZE
    grown = {name: many[name] - few[name] for name in LISTS}
    assert {name: more for name, more in grown.items() if more > 12 * slices} == {}


async def test_rows_are_those_of_single_containers(engine: Engine) -> None:
    await fill(engine, SIZE + 3)
    rows = {row["Names"][0]: row for row in await engine.containers.list(all=True, size=True)}
    assert len(rows) == SIZE + 3
    for position in (0, 1, SIZE, SIZE + 2):
        row, view = rows[f"/c{position}"], await engine.containers.inspect(f"c{position}", True)
        assert row["Id"] == view["Id"]
        assert row["NetworkSettings"]["Networks"] == view["NetworkSettings"]["Networks"]
        assert (row["SizeRw"], row["SizeRootFs"]) == (view["SizeRw"], view["SizeRootFs"])
        following = [f"/c{position + 1}/before"] if position < SIZE + 2 else []
        assert row["Names"][1:] == (following if position else [*_all_but(0), *following[:0]])


def _all_but(position: int) -> list[str]:
    """What the first container is called: by the second in two ways, by the rest in one."""
    names = [[f"/c{other}/c0"] for other in range(SIZE + 3) if other != position]
    return ["/c1/before", *(name for group in names for name in group)]


async def test_others_have_their_turns(engine: Engine) -> None:
    await fill(engine, 2 * SIZE + 1)
    listing = asyncio.ensure_future(engine.containers.list(all=True))
    turns = 0
    while not listing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 4, "two between the slices of the choice, two between those of the rows"
    assert len(await listing) == 2 * SIZE + 1


async def test_who_is_gone_meanwhile_has_no_settings(engine: Engine) -> None:
    await fill(engine, 1)
    present = (await engine.containers.inspect("c0"))["Id"]
    assert set(engine._services.networks.settings_of([present, "0" * 64])) == {present}
    assert engine._services.networks.settings_of([]) == {}


async def test_a_tag_costs_the_same_whatever_an_image_is_called(engine: Engine) -> None:
    def tag(number: int) -> Request:
        return lambda engine: engine.images.tag("busybox", "again", str(number))

    def untag(number: int) -> Request:
        return lambda engine: engine.images.remove(f"again:{number}")

    costs = [await statements(engine, tag(number)) for number in range(40)]
    assert len(set(costs)) == 1
    assert len((await engine.images.list())[0]["RepoTags"]) == 41
    costs = [await statements(engine, untag(number)) for number in range(40)]
    assert max(costs) - min(costs) <= 2
    assert (await engine.images.list())[0]["RepoTags"] == ["busybox:latest"]
