"""Kill -9 in the middle of pulls and pushes: the store verifies, and the next one goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from tests.registries import Fault, Seen, breaking_proxy, docker_registry, faulty_registry

from wherry.images import reference as references
from wherry.images.check import check
from wherry.images.import_ import import_image
from wherry.images.store import Image, ImageStore
from wherry.registry.hosts import RegistryOptions
from wherry.registry.pull import Puller
from wherry.registry.push import Pusher
from wherry.registry.transfer import LayerBlobs, Partials
from wherry.storage.archive.stream import ByteStream
from wherry.storage.archive.writer import END, tar_file
from wherry.storage.blobs import BlobStore
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

pytestmark = pytest.mark.root

SIZE = 24 << 20


def open_store(root: Path) -> ImageStore:
    root.mkdir(exist_ok=True)
    db = StateDB(str(root / "state.db"))
    return ImageStore(db, BlobStore(str(root)), LayerStore(db, str(root)))


async def pull(root: Path, name: str) -> Image:
    store = open_store(root)
    partials = Partials(str(root / "downloads"))
    puller = Puller(store, LayerBlobs(store.db), partials, RegistryOptions())
    image = await puller.pull(references.parse(name), lambda _: None)
    store.db.close()
    return image


async def push(root: Path, name: str) -> None:
    store = open_store(root)
    partials = Partials(str(root / "downloads"))
    pusher = Pusher(store, LayerBlobs(store.db), partials.folder, RegistryOptions())
    await pusher.push(references.parse(name), lambda _: None)
    store.db.close()


async def pushed(root: Path, name: str) -> str:
    """Push an image that does not compress; returns its id."""
    store = open_store(root)
    layer = tar_file(b"noise", os.urandom(SIZE)) + tar_file(b"after", b"x") + END
    image = import_image(store, ByteStream([layer]), target=references.parse(name))
    store.db.close()
    await push(root, name)
    return image.id


def script(function: str) -> str:
    return (
        "import asyncio, sys; from pathlib import Path\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[3])!r}]\n"
        "import test_killed_pulls as t\n"
        f"asyncio.run(t.{function}(Path(sys.argv[1]), sys.argv[2]))"
    )


async def test_killed_pushes_can_be_repeated(tmp_path: Path) -> None:
    """Killed at three requests on the way: in the first chunk, between chunks, at the manifest."""
    root = tmp_path / "made"
    store = open_store(root)
    layer = tar_file(b"noise", os.urandom(10 << 20)) + END
    marks = [("PATCH", 0), ("PATCH", 1), ("/manifests/", 0)]
    with docker_registry(tmp_path) as registry:
        reached = asyncio.Event()

        def choose(seen: Seen, count: int) -> Fault | None:
            if marks and marks[0][0] in f"{seen.method} {seen.path}" and count >= marks[0][1]:
                reached.set()
                return Fault(delay=600)
            return None

        async with faulty_registry(registry, choose) as (address, _):
            name = f"{address}/noise:1"
            image = import_image(store, ByteStream([layer]), target=references.parse(name))
            store.db.close()
            while marks:
                reached.clear()
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", script("push"), str(root), name
                )
                await asyncio.wait_for(reached.wait(), 120)
                child.kill()
                await child.wait()
                marks.pop(0)
                store = open_store(root)
                store.clean()
                report = check(store)
                assert (report.problems, report.garbage) == ((), ())
                store.db.close()
            await push(root, name)
            assert os.listdir(root / "downloads") == []
            assert (await pull(tmp_path / "pulled", name)).id == image.id


async def test_killed_pulls_cost_no_layer_twice(tmp_path: Path) -> None:
    root = tmp_path / "pulled"
    with docker_registry(tmp_path) as registry:
        image_id = await pushed(tmp_path / "made", f"{registry}/noise:1")
        async with breaking_proxy(registry, lambda: None) as (address, carried):
            name = f"{address}/noise:1"
            kills = 0
            while True:
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", script("pull"), str(root), name
                )
                target = sum(carried) + SIZE // 5
                while sum(carried) < target and child.returncode is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                if child.returncode is not None:
                    break
                child.kill()
                await child.wait()
                kills += 1
                store = open_store(root)
                assert check(store).problems == ()
                store.clean()
                report = check(store)
                assert (report.problems, report.garbage) == ((), ())
                store.db.close()
            assert child.returncode == 0
            assert kills >= 2
            # What was on the line when a pull was killed is lost, nothing more.
            assert sum(carried) < SIZE + kills * (6 << 20)
    store = open_store(root)
    assert store.resolve(name).id == image_id
    assert check(store).problems == ()
    store.db.close()
