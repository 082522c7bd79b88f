"""A closed hub with people of every kind, and clients that act as them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from wherry.hub.access import Role
from wherry.hub.accounts.identify import hash_secret, new_secret
from wherry.hub.accounts.passwords import hash_password
from wherry.hub.app import make_app
from wherry.hub.config import HubConfig
from wherry.hub.demo import Image, Step, make_image, push_image
from wherry.hub.hub import HUB, Hub
from wherry.hub.records import organisations, repositories, users

PASSWORD = "correct horse"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
ROLES = ("anonymous", "outsider", "reader", "writer", "member", "owner", "admin")
"""outsider: logged in, no role; reader, writer: collaborators of acme/secret; member: of the
organisation, whose membership gives nothing; owner: its manager; admin: of the hub."""


@dataclass
class World:
    """The hub under test."""

    hub: Hub
    server: TestServer
    image: Image

    def url(self, path: str) -> str:
        return str(self.server.make_url(path))

    async def browser(self, name: str) -> Browser:
        """A logged-in browser (or an anonymous one)."""
        session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        browser = Browser(self, session)
        if name != "anonymous":
            answer = await browser.post("/login", name=name, password=PASSWORD)
            assert answer.status == 200, name
        return browser

    async def token(self, name: str, *scopes: str) -> str:
        """A bearer token as ``docker`` would get it."""
        headers = {}
        if name != "anonymous":
            headers = {"Authorization": basic(name, PASSWORD)}
        query = [("service", "wherry-hub"), *(("scope", scope) for scope in scopes)]
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url("/token"), params=query, headers=headers) as answer,
        ):
            assert answer.status == 200
            return str((await answer.json())["token"])


def basic(name: str, password: str) -> str:
    import base64

    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


@dataclass
class Browser:
    """A client with cookies that fills in the CSRF field."""

    world: World
    session: aiohttp.ClientSession

    async def get(self, path: str) -> aiohttp.ClientResponse:
        answer = await self.session.get(self.world.url(path), allow_redirects=False)
        await answer.read()
        return answer

    async def csrf(self) -> str:
        async with self.session.get(self.world.url("/settings")) as answer:
            found = _CSRF.search(await answer.text())
        assert found is not None
        return found[1]

    async def post(self, path: str, **form: str) -> aiohttp.ClientResponse:
        form = {"csrf": await self.csrf(), **form}
        answer = await self.session.post(self.world.url(path), data=form)
        await answer.read()
        return answer

    async def close(self) -> None:
        await self.session.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    app = make_app(HubConfig(data=tmp_path / "hub"))
    server = TestServer(app)
    await server.start_server()
    hub = app[HUB]
    hashed = hash_password(PASSWORD)
    people = {}
    for name in ("admin", "outsider", "reader", "writer", "member", "owner"):
        people[name] = await hub.db.write(users.create, name, hashed, admin=name == "admin")
    await hub.db.write(organisations.create, "acme", people["owner"].id)
    owner = await hub.db.read(organisations.find, "acme")
    assert owner is not None
    await hub.db.write(lambda conn: organisations.change(conn, owner.id, member_role=0))
    await hub.db.write(organisations.set_member, owner.id, people["member"].id, manager=False)
    image = make_image([Step("ADD x", {"x": b"secret content"})])
    for name, private in (("acme/secret", True), ("acme/open", False)):
        repository = await hub.db.write(repositories.create, name, private=private)
        await push_image(hub, repository, image, ("1",), "owner")
        for user, role in (("reader", Role.READ), ("writer", Role.WRITE)):
            await hub.db.write(repositories.set_collaborator, repository.id, people[user].id, role)
    yield World(hub, server, image)
    await server.close()
    await asyncio.sleep(0)


async def access_token(world: World, name: str, role: Role, expires: int | None = None) -> str:
    user = await world.hub.db.read(users.by_name, name)
    assert user is not None
    secret = new_secret()
    await world.hub.db.write(
        users.add_token, user.id, "test", hash_secret(secret), int(role), expires
    )
    return secret
