"""Quotas count what is arriving; administrators set them; open uploads are limited."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import select

from wherry.hub.database import Database
from wherry.hub.records import quotas
from wherry.hub.schema import uploads

from .conftest import RunningHub, StartHub, add_users, hub_command
from .site import PASSWORD, Visitor
from .test_backends import digest_of

AUTHORIZATION = {"Authorization": aiohttp.encode_basic_auth("ann", PASSWORD)}
PIECE = os.urandom(900_000)


def start(start_hub: StartHub, tmp_path: Path, database: str, settings: str) -> RunningHub:
    add_users(database, PASSWORD, "ann")
    (tmp_path / "hub.toml").write_text(settings)
    return start_hub("--config", str(tmp_path / "hub.toml"), "--db", database)


async def begin(session: aiohttp.ClientSession, hub: RunningHub) -> tuple[int, str]:
    async with session.post(f"{hub.url}/v2/ann/app/blobs/uploads/") as answer:
        return answer.status, f"{hub.url}{answer.headers.get('Location', '')}"


async def piece() -> AsyncIterator[bytes]:
    yield PIECE


async def test_unfinished_uploads_count(
    database: str,
    start_hub: StartHub,
    tmp_path: Path,
) -> None:
    hub = start(start_hub, tmp_path, database, "owner_quota = 3000000\n")
    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:

        async def send(number: int) -> int:
            status, location = await begin(session, hub)
            if status != 202:
                return status
            data = PIECE if number % 2 else piece()
            async with session.patch(location, data=data) as answer:
                return answer.status

        answers = await asyncio.gather(*(send(number) for number in range(30)))
        assert sorted(set(answers)) == [202, 403]
        assert answers.count(202) == 3
        kept = [entry.stat().st_size for entry in (tmp_path / "hub" / "uploads").iterdir()]
        assert sum(kept) == 3 * len(PIECE)

        # The administrator's word changes that, by page and by command.
        async with Visitor(hub) as ann:
            assert await ann.log_in("ann") == 200
            assert await ann.send("/admin/quota", owner="ann", quota="4 MB") == 200
            assert "4 MB" in (await ann.get("/admin"))[1]
            assert await ann.send("/admin/quota", owner="ann", quota="lots") == 400
            assert await ann.send("/admin/quota", owner="nobody", quota="none") == 404
        assert await send(1) == 202
        assert await send(1) == 403
        command = hub_command("--data", str(tmp_path / "hub"), "--db", database)
        done = await asyncio.to_thread(
            subprocess.run, [*command, "quota", "ann", "none"], capture_output=True, check=True
        )
        assert b"ann: quota none, 0 bytes stored, 3600000 arriving" in done.stdout
        assert await send(1) == 202
        done = await asyncio.to_thread(
            subprocess.run, [*command, "quota", "ann", "default"], capture_output=True, check=True
        )
        assert await send(0) == 403


async def test_a_broken_upload_gives_back_what_did_not_arrive(
    start_hub: StartHub, tmp_path: Path
) -> None:
    (tmp_path / "hub").mkdir()
    database = f"sqlite:///{tmp_path / 'hub' / 'hub.db'}"
    hub = start(start_hub, tmp_path, database, "owner_quota = 3000000\n")
    db = Database(database)
    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:
        _, location = await begin(session, hub)
        path = location.removeprefix(hub.url)
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(
            f"PATCH {path} HTTP/1.1\r\nHost: {hub.host}\r\nContent-Length: 2900000\r\n"
            f"Authorization: {AUTHORIZATION['Authorization']}\r\n\r\n".encode()
            + PIECE
        )
        await writer.drain()
        writer.close()
        async with asyncio.timeout(60):
            while True:
                granted = await db.read(lambda conn: conn.execute(select(uploads.c.size)))
                if 0 < granted.scalar_one() <= len(PIECE):
                    break
                await asyncio.sleep(0.1)
        _, other = await begin(session, hub)
        async with session.patch(other, data=PIECE) as answer:
            assert answer.status == 202
        async with session.put(other, params={"digest": digest_of(PIECE)}) as answer:
            assert answer.status == 201
    db.close()


async def test_open_uploads_are_limited_and_idle_ones_make_room(
    database: str,
    start_hub: StartHub,
    tmp_path: Path,
) -> None:
    hub = start(start_hub, tmp_path, database, "owner_uploads = 5\n")
    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:
        statuses = [(await begin(session, hub))[0] for _ in range(7)]
        assert statuses == [202] * 5 + [429] * 2
        assert len(os.listdir(tmp_path / "hub" / "uploads")) == 5
        db = Database(database)
        db.run(lambda conn: conn.execute(uploads.update().values(touched=int(time.time()) - 3700)))
        db.close()
        assert (await begin(session, hub))[0] == 202
        assert len(os.listdir(tmp_path / "hub" / "uploads")) == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("20G", 20 * 10**9), ("500 MB", 5 * 10**8), ("7", 7), ("none", 0), ("Default", None)],
)
def test_quotas_as_people_write_them(text: str, size: int | None) -> None:
    assert quotas.parse_quota(text) == size
