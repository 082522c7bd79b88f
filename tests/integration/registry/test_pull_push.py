"""Images to a registry and back, with skopeo as a second opinion."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.images import busybox_archive
from tests.registries import breaking_proxy, docker_registry

from wherry.errors import InvalidParameter, NotFound
from wherry.images import reference as references
from wherry.images.load import load
from wherry.images.store import ImageStore
from wherry.registry.hosts import RegistryOptions
from wherry.registry.pull import Puller
from wherry.registry.push import Pusher
from wherry.registry.transfer import LayerBlobs, Partials, bar, human
from wherry.storage.blobs import BlobStore
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

pytestmark = pytest.mark.root


class Engine:
    """The parts of an engine that pull and push need, in a folder."""

    def __init__(self, folder: Path, driver: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.db = StateDB(str(folder / "state.db"))
        self.layers = LayerStore(self.db, str(folder / "data"))
        self.store = ImageStore(self.db, BlobStore(str(folder)), self.layers)
        known = LayerBlobs(self.db)
        options = RegistryOptions()
        self.partials = Partials(str(folder / "downloads"))
        self.puller = Puller(self.store, known, self.partials, options)
        self.pusher = Pusher(self.store, known, str(folder / "downloads"), options)
        self.messages: list[dict[str, Any]] = []

    def emit(self, message: Mapping[str, Any]) -> None:
        self.messages.append(dict(message))

    async def pull(self, name: str) -> str:
        image = await self.puller.pull(references.parse(name).tagged(), self.emit)
        return image.id

    async def push(self, name: str) -> str:
        return await self.pusher.push(references.parse(name).tagged(), self.emit)

    def statuses(self) -> list[str]:
        return [str(message.get("status")) for message in self.messages]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    made = Engine(tmp_path / "one")
    with busybox_archive().open("rb") as file:
        load(made.store, file, lambda message: None, quiet=True)
    return made


def name_it(engine: Engine, name: str) -> str:
    image = engine.store.resolve("busybox")
    engine.store.tag(image.id, references.parse(name).tagged())
    return image.id


async def test_an_image_makes_the_round(engine: Engine, registry: str, tmp_path: Path) -> None:
    image = name_it(engine, f"{registry}/team/box:v1")
    digest = await engine.push(f"{registry}/team/box:v1")
    assert "Pushed" in engine.statuses()
    assert engine.messages[-1]["aux"]["Digest"] == digest
    other = Engine(tmp_path / "two")
    assert await other.pull(f"{registry}/team/box:v1") == image
    assert f"Status: Downloaded newer image for {registry}/team/box:v1" in other.statuses()
    assert await other.pull(f"{registry}/team/box:v1") == image
    assert f"Status: Image is up to date for {registry}/team/box:v1" in other.statuses()
    third = Engine(tmp_path / "three")
    assert await third.pull(f"{registry}/team/box@{digest}") == image
    assert not list(Path(other.partials.folder).iterdir())


async def test_a_pulled_layer_is_not_sent_again(
    engine: Engine, registry: str, tmp_path: Path
) -> None:
    name_it(engine, f"{registry}/again/one")
    await engine.push(f"{registry}/again/one")
    other = Engine(tmp_path / "two")
    image = await other.pull(f"{registry}/again/one")
    other.messages.clear()
    await other.push(f"{registry}/again/one")
    assert "Layer already exists" in other.statuses()
    other.store.tag(image, references.parse(f"{registry}/again/two").tagged())
    await other.push(f"{registry}/again/two")
    assert "Mounted from again/one" in other.statuses()


async def test_skopeo_reads_what_wherry_pushed(engine: Engine, registry: str) -> None:
    image = name_it(engine, f"{registry}/for/skopeo:x")
    digest = await engine.push(f"{registry}/for/skopeo:x")
    done = await asyncio.to_thread(
        subprocess.run,
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{registry}/for/skopeo:x"],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["config"]["digest"] == image
    shown = await asyncio.to_thread(
        subprocess.run,
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry}/for/skopeo:x"],
        capture_output=True,
        check=True,
    )
    assert json.loads(shown.stdout)["Digest"] == digest


@pytest.mark.parametrize("options", [(), ("--format", "oci"), ("--dest-compress-format", "zstd")])
async def test_wherry_pulls_what_skopeo_pushed(
    engine: Engine, registry: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    name = f"{registry}/from/skopeo:{len(options)}{len(''.join(options))}"
    copy = ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", *options]
    source = f"docker-archive:{busybox_archive()}"
    await asyncio.to_thread(
        subprocess.run, [*copy, source, f"docker://{name}"], capture_output=True, check=True
    )
    other = Engine(tmp_path / "two")
    pulled = other.store.get(await other.pull(name))
    assert pulled.layers == engine.store.resolve("busybox").layers


async def test_a_pull_over_a_breaking_line_finishes(
    engine: Engine, registry: str, tmp_path: Path
) -> None:
    image = name_it(engine, f"{registry}/broken/pull")
    await engine.push(f"{registry}/broken/pull")
    other = Engine(tmp_path / "two")
    async with breaking_proxy(registry, lambda: 150_000) as (proxy, carried):
        assert await other.pull(f"{proxy}/broken/pull") == image
    assert len(carried) > 3


async def test_a_cancelled_pull_leaves_no_layer_and_goes_on_later(
    engine: Engine, registry: str, tmp_path: Path
) -> None:
    image = name_it(engine, f"{registry}/cancel/pull")
    await engine.push(f"{registry}/cancel/pull")
    other = Engine(tmp_path / "two")
    budgets = iter([None, 200_000])
    async with breaking_proxy(registry, lambda: next(budgets, 0)) as (proxy, _):
        pulling = asyncio.create_task(other.pull(f"{proxy}/cancel/pull"))
        await asyncio.sleep(1.5)
        pulling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pulling
    assert other.layers.all() == []
    assert await other.pull(f"{registry}/cancel/pull") == image


async def test_refusals_are_in_known_words(registry: str, tmp_path: Path, engine: Engine) -> None:
    name_it(engine, f"{registry}/there/is")
    await engine.push(f"{registry}/there/is")
    with pytest.raises(NotFound, match=r"manifest for .*/there/is:nosuch not found"):
        await engine.pull(f"{registry}/there/is:nosuch")
    with pytest.raises(NotFound, match="not found"):
        await engine.pull(f"{registry}/not/there")
    with pytest.raises(NotFound, match="An image does not exist locally with the tag"):
        await engine.push(f"{registry}/never/made")
    with pytest.raises(InvalidParameter, match="a tag is needed"):
        await engine.pusher.push(references.parse("x@sha256:" + "a" * 64), engine.emit)


def test_bars() -> None:
    assert bar(0, 100) == "[>                                                 ]  0B/100B"
    assert bar(100, 100) == "[" + "=" * 50 + ">]  100B/100B"
    assert human(1_234_567) == "1.235MB"
