"""The tags page of a repository with very many tags, through a running hub."""

from __future__ import annotations

import re

import aiohttp

from .conftest import StartHub
from .test_backends import MANIFEST, get, push_image

_TAG = re.compile(r'class="tag" href="/r/team/app/-/image/([^"]+)"')


async def test_every_tag_is_on_some_page_and_can_be_found(
    database: str, start_hub: StartHub
) -> None:
    hub = start_hub("--open", "--db", database)
    async with aiohttp.ClientSession() as session:
        manifest = await push_image(session, hub, "team/app", "Release_1", b"layer")
        names = [f"v{number:03}" for number in range(230)]
        digest = ""
        for start in range(0, 230, 50):
            query = [("tag", name) for name in names[start : start + 50]]
            async with session.head(f"{hub.url}/v2/team/app/manifests/Release_1") as answer:
                digest = answer.headers["Docker-Content-Digest"]
            url = f"{hub.url}/v2/team/app/manifests/{digest}"
            headers = {"Content-Type": MANIFEST}
            async with session.put(url, params=query, data=manifest, headers=headers) as answer:
                assert answer.status == 201

        async def page(query: str) -> list[str]:
            status, html = await get(session, f"{hub.url}/r/team/app/-/tags?{query}")
            assert status == 200
            return _TAG.findall(html.decode())

        pages = [await page(f"page={number}") for number in (1, 2, 3)]
        assert [len(shown) for shown in pages] == [100, 100, 31]
        assert sorted(name for page_names in pages for name in page_names) == sorted(
            [*names, "Release_1"]
        )
        assert await page("page=4") == pages[2]
        assert await page("page=99999") == await page("page=3")
        assert await page("page=x") == pages[0]
        assert await page("filter=V22") == [f"v22{number}" for number in range(9, -1, -1)]
        assert await page("filter=release_") == ["Release_1"]
        assert await page("filter=%25") == await page("filter=v_2") == []
        assert len(await page("filter=v&page=3")) == 30
        # What is not among the newest can still be compared.
        compared = f"{hub.url}/r/team/app/-/compare?from=Release_1&to=v000"
        status, html = await get(session, compared)
        assert (status, html.count(b"<option selected>")) == (200, 2)
