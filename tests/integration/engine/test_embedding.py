"""An engine inside a program, as docs/embedding.md shows it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.images import busybox_archive
from tests.leaks import no_leaks

from wherry.engine.engine import Engine
from wherry.engine.options import EngineConfig
from wherry.errors import Conflict, NotFound
from wherry.instance import Instance
from wherry.linux.cgroups import Cgroup

pytestmark = pytest.mark.root


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine.embedded() as running:
        await running.images.load_file(str(busybox_archive()))
        yield running


async def test_five_lines_run_a_container(engine: Engine) -> None:
    result = await engine.run("busybox", ["sh", "-c", "echo hello; echo no >&2; exit 3"])
    assert (result.code, result.stdout, result.stderr) == (3, b"hello\n", b"no\n")


async def test_the_end_is_clean() -> None:
    async with Engine.embedded() as engine:
        folder = Path(engine.config.data_root).parent
        await engine.images.load_file(str(busybox_archive()))
        created = await engine.containers.create({"Image": "busybox", "Cmd": ["sleep", "1000"]})
        await engine.containers.start(created["Id"])
    assert not folder.exists()
    with no_leaks(created["Id"]):
        pass
    assert folder.name not in Path("/proc/self/mountinfo").read_text()


async def test_a_data_root_has_one_owner(engine: Engine) -> None:
    config = EngineConfig(engine.config.data_root, engine.config.exec_root)
    with pytest.raises(Conflict, match="another engine owns it"):
        await Engine.open(config)
    assert os.stat(engine.config.data_root).st_mode & 0o777 == 0o710


async def test_waits_are_registered_before_the_start(engine: Engine) -> None:
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"AutoRemove": True}}
    created = await engine.containers.create(body, "brief")
    exits = await engine.containers.wait("brief", "next-exit")
    removed = await engine.containers.wait("brief", "removed")
    await engine.containers.start("brief")
    async with asyncio.timeout(20):
        assert (await exits)["StatusCode"] == 0
        assert (await removed)["StatusCode"] == 0
    with pytest.raises(NotFound, match=f"No such container: {created['Id']}"):
        await engine.containers.inspect(created["Id"])


async def test_many_at_once_by_several_clients(engine: Engine) -> None:
    async def client(number: int) -> list[bytes]:
        outputs = []
        for turn in range(4):
            result = await engine.run("busybox", ["echo", f"{number}-{turn}"])
            outputs.append(result.stdout)
        return outputs

    found = await asyncio.gather(*(client(number) for number in range(6)))
    assert found == [[f"{n}-{t}\n".encode() for t in range(4)] for n in range(6)]
    assert await engine.containers.list(all=True) == []


async def test_a_closed_engine_without_containers_leaves_no_cgroup() -> None:
    async with Engine.embedded() as engine:
        parent = Instance.of_data_root(engine.config.data_root, "").cgroup_parent
        await engine.images.load_file(str(busybox_archive()))
        await engine.run("busybox", ["true"])
        assert Cgroup(parent).exists()
    assert not Cgroup(parent).exists()
