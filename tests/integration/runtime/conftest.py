"""Fixtures for tests that run real containers through the runtime."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pytest_asyncio import is_async_test
from tests.containers import Workshop, workshop
from tests.leaks import no_leaks

from wherry.runtime.bundle import Bundle, ExitStatus, read_exit
from wherry.runtime.client import Launcher, Shim


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root; the tests of a module share an event loop and a launcher."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            share_loop(item)
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


def share_loop(item: pytest.Item) -> None:
    """Let an asynchronous test run in the event loop of its module."""
    if is_async_test(item):
        item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest.fixture
def shop() -> Iterator[Workshop]:
    """A place for bundles; nothing of it may be left at the end."""
    with workshop() as place:
        with no_leaks(place.cgroup.strip("/")):
            yield place
            place.clean()
        with no_leaks(str(place.folder)):
            pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launcher() -> AsyncIterator[Launcher]:
    """The module's launcher, which is replaced by itself when a test kills it."""
    running = await Launcher.start()
    yield running
    await running.close()


class Runner:
    """Runs containers and remembers them, so that each is taken away at the end."""

    def __init__(self, launcher: Launcher, shop: Workshop) -> None:
        self.launcher = launcher
        self.shop = shop
        self._shims: list[Shim] = []

    async def create(self, spec: dict[str, Any], **values: Any) -> tuple[Shim, Bundle]:
        """A container that waits to be started."""
        bundle = self.shop.bundle(spec, **values)
        shim = await self.launcher.create(bundle, values.pop("attach", ()))
        self._shims.append(shim)
        return shim, bundle

    async def start(self, spec: dict[str, Any], **values: Any) -> tuple[Shim, Bundle]:
        """A container that runs."""
        shim, bundle = await self.create(spec, **values)
        await shim.start()
        return shim, bundle

    async def run(self, spec: dict[str, Any], **values: Any) -> tuple[ExitStatus, str]:
        """A container run to its end: its status and all its output."""
        shim, bundle = await self.start(spec, **values)
        status = await shim.wait()
        assert read_exit(bundle.directory) == status
        return status, logged(bundle)

    async def close(self) -> None:
        """Take every container away."""
        for shim in self._shims:
            await shim.delete()


def logged(bundle: Bundle) -> str:
    """All output in a container's json-file log."""
    lines = Path(bundle.log.path).read_text().splitlines()
    return "".join(json.loads(line)["log"] for line in lines)


@pytest_asyncio.fixture(loop_scope="module")
async def runner(launcher: Launcher, shop: Workshop) -> AsyncIterator[Runner]:
    """A `Runner`."""
    made = Runner(launcher, shop)
    yield made
    await made.close()
