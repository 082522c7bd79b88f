"""Registries that refuse, cut, delay, truncate and lie: pulls and pushes finish or fail cleanly.

Whatever happens, the store verifies, no wrong byte is kept, and the same work done again over a
good line succeeds, without fetching or sending whole layers a second time.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from tests.registries import Fault, Seen, docker_registry, faulty_registry

from wherry.errors import InvalidParameter, KernelError, Unavailable, WherryError
from wherry.images import reference as references
from wherry.images.check import check
from wherry.images.import_ import import_image
from wherry.images.store import ImageStore
from wherry.registry import session, upload
from wherry.registry.failures import TooManyRequests
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

SIZE = 1_500_000
NEVER = 10**6


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses between attempts, and uploads of several chunks."""
    monkeypatch.setattr(session, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(upload, "CHUNK_BYTES", 1 << 19)


class Host:
    """A store with its puller and pusher."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.db = StateDB(str(root / "state.db"))
        self.store = ImageStore(self.db, BlobStore(str(root)), LayerStore(self.db, str(root)))
        self.partials = Partials(str(root / "downloads"))
        known, options = LayerBlobs(self.db), RegistryOptions()
        self.puller = Puller(self.store, known, self.partials, options)
        self.pusher = Pusher(self.store, known, self.partials.folder, options)

    async def pull(self, name: str) -> str:
        return (await self.puller.pull(references.parse(name), lambda _: None)).id

    async def push(self, name: str) -> str:
        return await self.pusher.push(references.parse(name), lambda _: None)

    def verify(self) -> None:
        report = check(self.store)
        assert (report.problems, report.garbage) == ((), ())


def noise_image(store: ImageStore, name: str) -> str:
    """An image of one layer that does not compress."""
    data = random.Random(name).randbytes(SIZE)
    layer = tar_file(b"noise", data) + END
    return import_image(store, ByteStream([layer]), target=references.parse(name)).id


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def noise(registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of the image that lies at ``noise:1``."""
    host = Host(tmp_path_factory.mktemp("made") / "one")
    image_id = noise_image(host.store, f"{registry}/noise:1")
    asyncio.run(host.push(f"{registry}/noise:1"))
    host.db.close()
    return image_id


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "host")
    yield made
    made.verify()
    made.db.close()


def of_layer(seen: list[Seen], config: str) -> int:
    """Bytes of the layer that came; the config is the other blob."""
    return sum(item.got for item in seen if is_layer(item, config))


def is_layer(seen: Seen, config: str) -> bool:
    return seen.method == "GET" and "/blobs/" in seen.path and not seen.path.endswith(config)


def soon() -> str:
    """An HTTP date of a second ago."""
    return format_datetime(datetime.now(UTC) - timedelta(seconds=1), usegmt=True)


GET = {
    "429 with seconds": (Fault(status=429, headers={"Retry-After": "0"}), 3),
    "429 with a date": (Fault(status=429, headers={"Retry-After": soon()}), 3),
    "500": (Fault(status=500), 3),
    "503": (Fault(status=503), 3),
    "no answer": (Fault(cut=-1), 3),
    "delay": (Fault(delay=0.05), NEVER),
    "cut body": (Fault(cut=700_000), 3),
    "cut small": (Fault(cut=1), 3),
    "length too large": (Fault(length=10), 1),
    "length too small": (Fault(length=-10), 1),
}
"""Faults that pass: what is done to how many requests of each kind."""


@pytest.mark.parametrize("name", GET)
async def test_a_pull_outlives(host: Host, registry: str, noise: str, name: str) -> None:
    fault, times = GET[name]
    async with faulty_registry(
        registry, lambda seen, count: fault if count < times and seen.path != "/v2/" else None
    ) as (address, seen):
        assert await host.pull(f"{address}/noise:1") == noise
        assert of_layer(seen, noise) < 1.3 * SIZE


ALWAYS = {
    "429": (Fault(status=429), TooManyRequests),
    "500": (Fault(status=500), Unavailable),
    "no answer": (Fault(cut=-1), Unavailable),
    "nothing of the body": (Fault(cut=0), Unavailable),
    "wrong bytes": (Fault(flip=True), InvalidParameter),
}


@pytest.mark.parametrize("name", ALWAYS)
async def test_a_pull_fails_cleanly_and_can_be_repeated(
    host: Host, registry: str, noise: str, name: str
) -> None:
    fault, failure = ALWAYS[name]
    for kind in ("/manifests/", noise, "/blobs/", ""):
        async with faulty_registry(
            registry,
            lambda seen, _: fault if kind and kind in seen.path else None,  # noqa: B023
        ) as (address, _):
            if kind:
                with pytest.raises(failure):
                    await host.pull(f"{address}/noise:1")
                host.verify()
            else:
                assert await host.pull(f"{address}/noise:1") == noise


async def test_a_manifest_with_another_digest_than_its_header_says(
    host: Host, registry: str, noise: str
) -> None:
    fault = Fault(digest="sha256:" + "0" * 64)
    async with faulty_registry(registry, lambda _, count: fault if count < times else None) as (
        address,
        _,
    ):
        times = 2
        assert await host.pull(f"{address}/noise:1") == noise
        times = NEVER
        with pytest.raises(InvalidParameter, match="digest"):
            await host.pull(f"{address}/noise:1")


async def test_a_pull_goes_on_where_it_failed(host: Host, registry: str, noise: str) -> None:
    """The line dies in the middle of the layer; the next pull asks for the rest."""
    met = 0

    def dying(seen: Seen, _: int) -> Fault | None:
        nonlocal met
        if not is_layer(seen, noise):
            return None
        met += 1
        return Fault(cut=1_000_000) if met == 1 else Fault(status=503)

    async with faulty_registry(registry, dying) as (address, _):
        with pytest.raises(Unavailable):
            await host.pull(f"{address}/noise:1")
        host.verify()
    async with faulty_registry(registry, lambda *_: None) as (address, seen):
        assert await host.pull(f"{address}/noise:1") == noise
        assert of_layer(seen, noise) < SIZE // 2


PUSH = {
    "429 with seconds": (Fault(status=429, headers={"Retry-After": "0"}), 3),
    "500": (Fault(status=500), 3),
    "503": (Fault(status=503), 3),
    "no answer": (Fault(cut=-1), 1),
    "delay": (Fault(delay=0.02), NEVER),
    "cut request": (Fault(cut_request=300_000), 3),
}


@pytest.mark.parametrize("name", PUSH)
async def test_a_push_outlives(host: Host, registry: str, tmp_path: Path, name: str) -> None:
    """Every kind of request meets the fault."""
    fault, times = PUSH[name]

    def choose(seen: Seen, count: int) -> Fault | None:
        if count >= times or seen.path == "/v2/":
            return None
        bodiless = seen.method in ("HEAD", "GET", "POST")
        return Fault(cut=-1) if fault.cut_request and bodiless else fault

    path = f"push-{name.replace(' ', '-')}"
    async with faulty_registry(registry, choose) as (address, seen):
        image_id = noise_image(host.store, f"{address}/{path}:1")
        await host.push(f"{address}/{path}:1")
        assert sum(item.sent for item in seen) < 1.9 * SIZE
    other = Host(tmp_path / "other")
    assert await other.pull(f"{registry}/{path}:1") == image_id
    other.verify()
    other.db.close()


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(cut=-1)], ids=["500", "no answer"])
async def test_a_push_fails_cleanly_and_can_be_repeated(
    host: Host, registry: str, fault: Fault
) -> None:
    broken = ""
    async with faulty_registry(
        registry, lambda seen, _: fault if seen.method == broken else None
    ) as (address, _):
        name = f"{address}/fail-{fault.status}:1"
        noise_image(host.store, name)
        for method in ("HEAD", "POST", "PATCH", "PUT"):
            broken = method
            with pytest.raises(WherryError):
                await host.push(name)
            assert os.listdir(host.partials.folder) == []
        broken = ""
        await host.push(name)


async def test_a_registry_that_lies_about_the_manifest_it_took(host: Host, registry: str) -> None:
    """A digest that is not the pushed manifest's is not taken over as the image's name."""
    fault = Fault(digest="sha256:" + "1" * 64)
    async with faulty_registry(
        registry, lambda seen, _: fault if "/manifests/" in seen.path else None
    ) as (address, _):
        noise_image(host.store, f"{address}/liar:1")
        with pytest.raises(InvalidParameter, match="digest"):
            await host.push(f"{address}/liar:1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 8 MB, which holds the compressed layer or the extracted one, not both."""
    disk, target = tmp_path / "disk", tmp_path / "small"
    target.mkdir()
    with disk.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, target], check=True)
    yield target
    subprocess.run(["umount", "--lazy", target], check=True)


async def test_a_pull_onto_a_full_disk(small_disk: Path, registry: str, noise: str) -> None:
    """Full at different points of the work: it fails with the reason, and later goes on."""
    host = Host(small_disk / "host")
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    for left in (100_000, SIZE // 2, SIZE + 100_000, SIZE * 3 // 2):
        filler.write_bytes(bytes(free - left))
        with pytest.raises(KernelError, match="no space left on device"):
            await host.pull(f"{registry}/noise:1")
        host.verify()
    filler.unlink()
    assert await host.pull(f"{registry}/noise:1") == noise
    host.verify()
    host.db.close()
