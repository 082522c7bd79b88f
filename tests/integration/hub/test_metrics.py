"""Metrics of several workers, and who may see them."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import aiohttp

from .conftest import StartHub
from .test_backends import digest_of

_HEALTH = re.compile(r'requests_total\{method="GET",area="health",status="200"\} (\d+)')


async def metrics(url: str, **headers: str) -> tuple[int, str]:
    """One scrape over a connection of its own: any worker may answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/metrics", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def test_every_worker_answers_for_all(start_hub: StartHub) -> None:
    hub = start_hub("--workers", "3")
    first = int(_HEALTH.findall((await metrics(hub.url))[1])[0])
    starts = set()
    for turn in range(1, 21):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{hub.url}/health") as answer,
        ):
            assert answer.status == 200
        status, text = await metrics(hub.url)
        assert status == 200
        assert _HEALTH.findall(text) == [str(first + turn)]
        starts.add(text.partition("start_time_seconds ")[2])
    assert len(starts) == 1


async def test_metrics_are_for_this_machine_or_for_a_token(
    start_hub: StartHub, tmp_path: Path
) -> None:
    hub = start_hub()
    assert (await metrics(hub.url))[0] == 200
    # What a proxy on this machine passes on is not from here.
    assert (await metrics(hub.url, **{"X-Forwarded-For": "203.0.113.9"}))[0] == 403
    assert (await metrics(hub.url, Host="hub.example.com"))[0] == 403

    (tmp_path / "hub.toml").write_text('metrics_token = "let me see"\n')
    guarded = start_hub("--config", str(tmp_path / "hub.toml"), data=tmp_path / "guarded")
    assert (await metrics(guarded.url))[0] == 401
    assert (await metrics(guarded.url, Authorization="Bearer let me se"))[0] == 401
    given = {"Authorization": "Bearer let me see", "Host": "hub.example.com"}
    assert (await metrics(guarded.url, **given))[0] == 200


async def test_no_worker_reads_again_what_another_has_hashed(start_hub: StartHub) -> None:
    hub = start_hub("--open", "--workers", "3")
    blobs = f"{hub.url}/v2/team/app/blobs/uploads/"

    async def ask(method: str, url: str, content: bytes = b"") -> tuple[int, str]:
        """One request over a connection of its own: any worker may get it."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=content) as answer,
        ):
            return answer.status, f"{hub.url}{answer.headers.get('Location', '')}"

    for number in range(20):
        content = os.urandom(10_000 + number)
        _, location = await ask("POST", blobs)
        assert (await ask("PATCH", location, content))[0] == 202
        assert (await ask("PUT", f"{location}?digest={digest_of(content)}"))[0] == 201
    assert "blob_bytes_read_again" not in (await metrics(hub.url))[1]
    # What no process can know is read.
    _, location = await ask("POST", blobs)
    sha512 = f"sha512:{hashlib.sha512(b'x').hexdigest()}"
    await ask("PATCH", location, b"x")
    assert (await ask("PUT", f"{location}?digest={sha512}"))[0] == 201
    assert "wherry_hub_blob_bytes_read_again_total 1\n" in (await metrics(hub.url))[1]
