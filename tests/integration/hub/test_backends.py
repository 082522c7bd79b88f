"""PostgreSQL and S3, several processes, restarts, backup and restore."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .conftest import RunningHub, S3Server, StartHub, hub_command, new_database

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(params=["sqlite+files", "postgresql+files", "postgresql+s3"])
def pair(
    request: pytest.FixtureRequest, start_hub: StartHub, tmp_path: Path
) -> tuple[RunningHub, RunningHub]:
    """Two open hub processes on the same database and storage."""
    arguments: list[str] = ["--open"]
    if request.param.startswith("postgresql"):
        arguments += ["--db", new_database(request.getfixturevalue("postgresql"))]
    if request.param.endswith("s3"):
        server: S3Server = request.getfixturevalue("s3_server")
        file = tmp_path / "hub.toml"
        file.write_text(server.config(f"test-{time.monotonic_ns()}"))
        arguments += ["--config", str(file)]
    return start_hub(*arguments), start_hub(*arguments)


async def push(session: aiohttp.ClientSession, hub: RunningHub, repo: str, content: bytes) -> str:
    digest = digest_of(content)
    async with session.post(
        f"{hub.url}/v2/{repo}/blobs/uploads/", params={"digest": digest}, data=content
    ) as answer:
        assert answer.status == 201, await answer.text()
    return digest


async def push_image(
    session: aiohttp.ClientSession, hub: RunningHub, repo: str, tag: str, layer: bytes
) -> bytes:
    config = b'{"os":"linux","architecture":"amd64"}'
    for content in (config, layer):
        await push(session, hub, repo, content)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest_of(config),
                "size": len(config),
            },
            "layers": [
                {"mediaType": "application/x", "digest": digest_of(layer), "size": len(layer)}
            ],
        }
    ).encode()
    async with session.put(
        f"{hub.url}/v2/{repo}/manifests/{tag}", data=manifest, headers={"Content-Type": MANIFEST}
    ) as answer:
        assert answer.status == 201, await answer.text()
    return manifest


async def get(session: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, bytes]:
    async with session.get(url, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_both_processes_give_the_same_answers(
    pair: tuple[RunningHub, RunningHub],
) -> None:
    one, two = pair
    layer = os.urandom(20_000_000)
    async with aiohttp.ClientSession() as session:
        manifest = await push_image(session, one, "team/app", "1", layer)
        for hub in (one, two, one):
            assert await get(session, f"{hub.url}/v2/team/app/manifests/1") == (200, manifest)
            blob = f"{hub.url}/v2/team/app/blobs/{digest_of(layer)}"
            assert await get(session, blob) == (200, layer)
            assert await get(session, blob, Range="bytes=9000000-9000009") == (
                206,
                layer[9_000_000:9_000_010],
            )
            assert (
                json.loads((await get(session, f"{hub.url}/v1/search?q=ap"))[1])["num_results"] == 1
            )
            assert (await get(session, f"{hub.url}/r/team/app"))[0] == 200
            assert (await get(session, f"{hub.url}/r/team/app/-/image/1"))[0] == 200
            assert (await get(session, f"{hub.url}/ready"))[0] == 200
        async with session.delete(f"{two.url}/v2/team/app/manifests/1") as answer:
            assert answer.status == 202
        assert (await get(session, f"{one.url}/v2/team/app/manifests/1"))[0] == 404


async def test_wrong_logins_are_counted_together(pair: tuple[RunningHub, RunningHub]) -> None:
    wrong = {"Authorization": f"Basic {base64.b64encode(b'ann:whub_not-a-token').decode()}"}
    async with aiohttp.ClientSession(headers=wrong) as session:
        seen = [(await get(session, f"{pair[turn % 2].url}/v2/"))[0] for turn in range(24)]
    assert seen == [401] * 20 + [429] * 4


async def test_an_upload_begun_here_goes_on_there(pair: tuple[RunningHub, RunningHub]) -> None:
    hubs = list(pair)
    content = os.urandom(25_000_001)
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{hubs[0].url}/v2/team/up/blobs/uploads/") as answer:
            location = answer.headers["Location"]
        start = 0
        for size in (10, 9_000_000, 3, 16_000_000 - 12):
            hubs.reverse()
            chunk = content[start : start + size]
            headers = {"Content-Range": f"{start}-{start + len(chunk) - 1}"}
            async with session.patch(hubs[0].url + location, data=chunk, headers=headers) as answer:
                assert answer.status == 202, await answer.text()
            start += len(chunk)
            async with session.get(hubs[1].url + location) as answer:
                assert answer.headers["Range"] == f"0-{start - 1}"
        async with session.put(
            hubs[1].url + location, params={"digest": digest_of(content)}, data=content[start:]
        ) as answer:
            assert answer.status == 201, await answer.text()
        blob = f"{hubs[0].url}/v2/team/up/blobs/{digest_of(content)}"
        assert await get(session, blob) == (200, content)


async def test_parallel_pushes_of_the_same_layers(pair: tuple[RunningHub, RunningHub]) -> None:
    shared = os.urandom(300_000)
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(
            *(
                push_image(session, pair[n % 2], f"team/p{n % 4}", f"t{n}", shared)
                for n in range(16)
            )
        )
        for n in range(16):
            url = f"{pair[(n + 1) % 2].url}/v2/team/p{n % 4}"
            assert (await get(session, f"{url}/manifests/t{n}"))[0] == 200
            assert await get(session, f"{url}/blobs/{digest_of(shared)}") == (200, shared)


@pytest.mark.parametrize("kills", [6])
async def test_kill_during_pushes_tears_nothing(
    start_hub: StartHub, tmp_path: Path, kills: int
) -> None:
    """What was acknowledged before a kill -9 is whole after it; what was not may be sent again."""
    data = tmp_path / "hub"
    hub = start_hub("--open", data=data)
    acknowledged: dict[str, bytes] = {}
    layers: dict[str, bytes] = {}

    async def pusher(number: int, session: aiohttp.ClientSession) -> None:
        turn = 0
        while True:
            layer = os.urandom(200_000)
            tag = f"t{number}-{turn}"
            try:
                manifest = await push_image(session, hub, f"crash/r{number}", tag, layer)
            except (aiohttp.ClientError, ConnectionError):
                return
            acknowledged[f"crash/r{number}/manifests/{tag}"] = manifest
            layers[f"crash/r{number}/blobs/{digest_of(layer)}"] = layer
            turn += 1

    for turn in range(kills):
        async with aiohttp.ClientSession() as session:
            pushers = [asyncio.create_task(pusher(n, session)) for n in range(6)]
            await asyncio.sleep(0.3 + 0.11 * turn)
            hub.stop(9)
            await asyncio.gather(*pushers)
        hub = start_hub("--open", data=data)
    assert len(acknowledged) > kills
    async with aiohttp.ClientSession() as session:
        for path, content in (acknowledged | layers).items():
            assert await get(session, f"{hub.url}/v2/{path}") == (200, content), path
    for file in (data / "blobs").rglob("*.*"):
        if file.is_file():
            expected = file.name.partition(".")[0]
            assert hashlib.sha256(file.read_bytes()).hexdigest() == expected, "torn blob"


async def test_an_upload_goes_on_after_kill(start_hub: StartHub, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    hub = start_hub("--open")
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{hub.url}/v2/team/resume/blobs/uploads/") as answer:
            location = answer.headers["Location"]
        async with session.patch(hub.url + location, data=content[:2_000_000]) as answer:
            assert answer.status == 202
    hub.stop(9)
    hub = start_hub("--open")
    async with aiohttp.ClientSession() as session:
        async with session.get(hub.url + location) as answer:
            assert answer.headers["Range"] == "0-1999999"
        async with session.put(
            hub.url + location, params={"digest": digest_of(content)}, data=content[2_000_000:]
        ) as answer:
            assert answer.status == 201


async def test_backup_moves_a_hub_from_sqlite_to_postgresql_and_s3(
    start_hub: StartHub, tmp_path: Path, postgresql: str, s3_server: S3Server
) -> None:
    layer = os.urandom(100_000)
    old = start_hub("--demo", data=tmp_path / "old")
    archive = tmp_path / "backup.tar"
    await asyncio.to_thread(
        _run, hub_command("--data", str(tmp_path / "old"), "backup", str(archive))
    )
    import psycopg

    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE DATABASE moved")
    file = tmp_path / "hub.toml"
    file.write_text(
        f'database = "{postgresql.rsplit("/", 1)[0]}/moved"\n' + s3_server.config("moved")
    )
    arguments = ["--config", str(file), "--data", str(tmp_path / "new")]
    restore = hub_command(*arguments, "restore", str(archive))
    await asyncio.to_thread(_run, restore)
    assert "empty" in await asyncio.to_thread(_run, restore, 1)
    new = start_hub("--config", str(file), data=tmp_path / "new")

    async def everything(session: aiohttp.ClientSession, hub: RunningHub) -> dict[str, Any]:
        found: dict[str, Any] = {}
        names = json.loads((await get(session, f"{hub.url}/v2/_catalog"))[1])["repositories"]
        for name in names:
            tags = json.loads((await get(session, f"{hub.url}/v2/{name}/tags/list"))[1])["tags"]
            for tag in tags:
                _, manifest = await get(session, f"{hub.url}/v2/{name}/manifests/{tag}")
                found[f"{name}:{tag}"] = manifest
                for entry in json.loads(manifest).get("layers", []):
                    blob = await get(session, f"{hub.url}/v2/{name}/blobs/{entry['digest']}")
                    assert digest_of(blob[1]) == entry["digest"]
        return found

    async with aiohttp.ClientSession() as session:
        before, after = await everything(session, old), await everything(session, new)
        assert before == after
        assert len(before) > 15
        assert (await get(session, f"{new.url}/r/brice/mysql"))[0] == 200
    await _push_after_restore(new, layer)


def _run(command: list[str], code: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stderr


async def _push_after_restore(hub: RunningHub, layer: bytes) -> None:
    """Ids go on where the restored ones end."""
    credentials = base64.b64encode(b"harbour:wherry-demo").decode()
    async with aiohttp.ClientSession(headers={"Authorization": f"Basic {credentials}"}) as session:
        await push_image(session, hub, "after/restore", "1", layer)


@pytest.mark.parametrize("workers", ["2"])
async def test_workers_share_the_port_and_are_replaced(start_hub: StartHub, workers: str) -> None:
    hub = start_hub("--open", "--workers", workers)
    children = Path(f"/proc/{hub.process.pid}/task/{hub.process.pid}/children")
    before = children.read_text().split()
    assert len(before) == 2
    os.kill(int(before[0]), 9)
    deadline = time.monotonic() + 15
    while len(set(children.read_text().split()) - {before[0]}) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    async with aiohttp.ClientSession() as session:
        await push_image(session, hub, "team/w", "1", b"layer")
        for _ in range(10):
            assert (await get(session, f"{hub.url}/v2/team/w/manifests/1"))[0] == 200
