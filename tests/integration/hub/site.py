"""A person with a browser: logs in to a running hub and sends its forms."""

from __future__ import annotations

import re

import aiohttp

from .conftest import RunningHub

PASSWORD = "correct horse battery"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Visitor:
    """One browser session; ``async with`` it."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub

    async def __aenter__(self) -> Visitor:
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.session.close()

    async def log_in(self, name: str) -> int:
        return await self.send("/login", name=name, password=PASSWORD)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"{self.hub.url}{path}") as answer:
            return answer.status, await answer.text()

    async def send(self, path: str, **form: str) -> int:
        """Posts a form with the token of the visitor's pages; the status after redirects."""
        _, page = await self.get("/login")
        found = _CSRF.search(page) or _CSRF.search((await self.get("/settings"))[1])
        assert found is not None
        form = {"csrf": found[1], **form}
        async with self.session.post(f"{self.hub.url}{path}", data=form) as answer:
            await answer.read()
            return answer.status
