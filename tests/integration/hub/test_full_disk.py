"""A hub whose disk is full: what frees space works, what needs space is refused clearly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from wherry.hub.database import Database
from wherry.hub.schema import uploads

from .conftest import RunningHub, StartHub, add_users, hub_command
from .site import PASSWORD, Visitor
from .test_backends import get, push_image

pytestmark = pytest.mark.root

MEGABYTE = 1_000_000
AUTHORIZATION = {"Authorization": aiohttp.encode_basic_auth("ann", PASSWORD)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 60 MB."""
    folder = tmp_path / "hub"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def hub(disk: Path, start_hub: StartHub) -> Iterator[RunningHub]:
    """A hub on the small disk with the account ann, its administrator."""
    add_users(f"sqlite:///{disk / 'hub.db'}", PASSWORD, "ann")
    running = start_hub(data=disk)
    yield running
    running.stop()


def fill(disk: Path) -> Path:
    """Takes every byte that is left."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0
    return filler


async def begin(session: aiohttp.ClientSession, hub: RunningHub) -> tuple[int, str]:
    async with session.post(f"{hub.url}/v2/ann/app/blobs/uploads/") as answer:
        return answer.status, answer.headers.get("Location", "")


async def test_a_push_that_does_not_fit_is_refused_and_leaves_nothing(
    hub: RunningHub, disk: Path
) -> None:
    async def endless() -> object:
        for _ in range(180):
            yield b"x" * MEGABYTE

    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:
        for way in ("known length", "unknown length", "known length"):
            status, location = await begin(session, hub)
            assert status == 202
            data = b"x" * (180 * MEGABYTE) if way == "known length" else endless()
            async with session.patch(f"{hub.url}{location}", data=data) as answer:
                assert answer.status == 507, await answer.text()
                (error,) = json.loads(await answer.read())["errors"]
            assert "no space left" in error["message"]
            assert os.listdir(disk / "uploads") == []
            assert (await get(session, f"{hub.url}{location}"))[0] == 404
        await push_image(session, hub, "ann/app", "1", os.urandom(MEGABYTE))
        assert (await get(session, f"{hub.url}/ready"))[0] == 200


async def test_a_full_disk_is_freed_from_within(
    hub: RunningHub, disk: Path, start_hub: StartHub
) -> None:
    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session, Visitor(hub) as ann:
        manifest = await push_image(session, hub, "ann/app", "1", os.urandom(MEGABYTE))
        assert (disk / "reserve").exists()
        fill(disk)
        await not_ready(session, hub)
        assert (await begin(session, hub))[0] == 507
        assert await get(session, f"{hub.url}/v2/ann/app/manifests/1") == (200, manifest)
        assert (await get(session, f"{hub.url}/r/ann/app"))[0] == 200
        assert await ann.log_in("ann") == 200
        assert not (disk / "reserve").exists()
        async with session.delete(f"{hub.url}/v2/ann/app/manifests/1") as answer:
            assert answer.status == 202
        assert await ann.send("/admin/collect") == 200

        # What fills the disk is gone: the reserve comes back, and pushes work again.
        (disk / "filler").unlink()
        await ready(session, hub)
        assert (disk / "reserve").exists()
        await push_image(session, hub, "ann/app", "2", os.urandom(MEGABYTE))


async def ready(session: aiohttp.ClientSession, hub: RunningHub, wanted: int = 200) -> None:
    async with asyncio.timeout(30):
        while True:
            if (await get(session, f"{hub.url}/ready"))[0] == wanted:
                return
            await asyncio.sleep(0.1)


async def not_ready(session: aiohttp.ClientSession, hub: RunningHub) -> None:
    await ready(session, hub, 503)


async def test_a_hub_starts_on_a_full_disk_and_collect_takes_idle_uploads(
    hub: RunningHub, disk: Path, start_hub: StartHub
) -> None:
    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:
        locations = [(await begin(session, hub))[1] for _ in range(2)]
        for location in locations:
            async with session.patch(f"{hub.url}{location}", data=b"x" * MEGABYTE) as answer:
                assert answer.status == 202
        (disk / "uploads" / "left-by-a-crash").write_bytes(b"x" * MEGABYTE)
        hours_ago = int(time.time()) - 2 * 3600
        os.utime(disk / "uploads" / "left-by-a-crash", (hours_ago, hours_ago))
        idle = locations[0].rpartition("/")[2]
        age(disk, idle, hours_ago)
        hub.stop(signal.SIGKILL)
        fill(disk)
        command = hub_command("--data", str(disk), "collect")
        done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await done.communicate()
        assert done.returncode == 0
        assert b"2 uploads" in output
        assert os.listdir(disk / "uploads") == [locations[1].rpartition("/")[2]]

        fill(disk)
        again = start_hub(data=disk)
        await not_ready(session, again)
        assert (await get(session, f"{again.url}/v2/"))[0] == 200
        again.stop()


def age(disk: Path, upload: str, touched: int) -> None:
    db = Database(f"sqlite:///{disk / 'hub.db'}")
    db.run(
        lambda conn: conn.execute(
            uploads.update().where(uploads.c.id == upload).values(touched=touched)
        )
    )
    db.close()
