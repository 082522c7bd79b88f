"""Markdown is rendered once for each text, elsewhere, and within limits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from wherry.hub.config import HubConfig
from wherry.hub.hub import Hub
from wherry.hub.rendering import Renderer, plain

from .conftest import StartHub, add_users
from .site import PASSWORD, Visitor
from .test_backends import push_image

NEVER_ENDING = "![" * 200_000


async def test_each_text_is_rendered_once_for_all_processes(tmp_path: Path) -> None:
    hub = Hub(HubConfig(data=tmp_path / "hub"))
    texts = ["# Hello", "*there*", "# Hello", "", "\ud800 and \0"]
    first = await hub.renderer.htmls(texts, None)
    assert first[0] == first[2] == "<h2>Hello</h2>\n"
    assert first[1] == "<p><em>there</em></p>\n"
    assert hub.renderer.made == 4
    again = await asyncio.gather(*(hub.renderer.htmls(texts, None) for _ in range(5)))
    other = Renderer(hub.db)
    assert [*again, await other.htmls(texts, None)] == [first] * 6
    assert (hub.renderer.made, other.made) == (4, 0)
    together = await asyncio.gather(*(hub.renderer.html("# At once") for _ in range(5)))
    assert set(together) == {"<h2>At once</h2>\n"}
    assert hub.renderer.made == 5
    await hub.close()


async def test_a_text_that_takes_too_much_is_shown_as_it_is(tmp_path: Path) -> None:
    hub = Hub(HubConfig(data=tmp_path / "hub"))
    shown = await hub.renderer.html(NEVER_ENDING)
    assert shown == plain(NEVER_ENDING)
    assert await hub.renderer.html("*next*") == "<p><em>next</em></p>\n"
    made = hub.renderer.made
    assert await hub.renderer.html(NEVER_ENDING) == plain(NEVER_ENDING)
    assert hub.renderer.made == made, "it was tried again"
    await hub.close()


async def test_a_page_does_not_wait_for_what_takes_long(tmp_path: Path) -> None:
    hub = Hub(HubConfig(data=tmp_path / "hub"))
    assert await hub.renderer.htmls(["*slow*"], 0) == [plain("*slow*")]
    assert await hub.renderer.html("*slow*") == "<p><em>slow</em></p>\n"
    assert hub.renderer.made == 1, "the work went on"
    await hub.close()


async def test_a_worker_that_dies_between_texts_is_replaced(tmp_path: Path) -> None:
    hub = Hub(HubConfig(data=tmp_path / "hub"))
    assert await hub.renderer.html("*one*") == "<p><em>one</em></p>\n"
    worker = hub.renderer._worker
    assert worker is not None
    worker.kill()
    await worker.wait()
    assert await hub.renderer.html("*two*") == "<p><em>two</em></p>\n"
    await hub.close()


async def test_a_hostile_readme_holds_nobody_up(start_hub: StartHub, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    add_users(f"sqlite:///{tmp_path / 'hub' / 'hub.db'}", PASSWORD, "ann")
    hub = start_hub()
    login = {"Authorization": aiohttp.encode_basic_auth("ann", PASSWORD)}
    async with Visitor(hub) as ann, aiohttp.ClientSession(headers=login) as session:
        assert await ann.log_in("ann") == 200
        await push_image(session, hub, "ann/app", "1", b"layer")
        assert await ann.send("/r/ann/app/-/settings", readme=NEVER_ENDING[:100_000]) == 200
        page = asyncio.ensure_future(ann.get("/r/ann/app"))
        for _ in range(5):
            async with session.get(f"{hub.url}/health") as answer:
                assert answer.status == 200
        assert not page.done(), "the page was there before five quick answers"
        status, html = await page
        assert status == 200
        assert "![![![" in html
        assert await ann.send("/r/ann/app/-/settings", readme="# Fine <b>now</b>") == 200
        async with asyncio.timeout(60):
            while "<h2>Fine &lt;b&gt;now&lt;/b&gt;</h2>" not in (await ann.get("/r/ann/app"))[1]:
                pass
