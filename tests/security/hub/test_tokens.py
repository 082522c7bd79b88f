"""Every token descends from one that can be revoked, and reaches no further than that."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from wherry.hub.access import Role
from wherry.hub.records import users

from .conftest import PASSWORD, World, access_token, basic

SECRET = "/v2/acme/secret/manifests/1"
UPLOAD = "/v2/acme/secret/blobs/uploads/"
SCOPE = "repository:acme/secret:pull,push,delete"
DAY = 86_400


@dataclass
class Client:
    """Asks a hub for tokens, and uses them."""

    world: World
    session: aiohttp.ClientSession

    async def json(self, method: str, path: str, header: str = "", **request: Any) -> Any:
        headers = {"Authorization": header} if header else {}
        url = self.world.url(path)
        async with self.session.request(method, url, headers=headers, **request) as answer:
            return answer.status, await answer.json(content_type=None)

    async def status(self, path: str, header: str, method: str = "GET") -> int:
        headers = {"Authorization": header}
        async with self.session.request(method, self.world.url(path), headers=headers) as answer:
            return answer.status

    async def descendants(self, name: str, secret: str) -> dict[str, str]:
        """Everything that can be made of a password or token: Authorization headers."""
        query = {"offline_token": "true", "scope": SCOPE, "client_id": "docker"}
        _, offline = await self.json("GET", "/token", basic(name, secret), params=query)
        form = {
            "grant_type": "password", "username": name, "password": secret,
            "access_type": "offline", "scope": SCOPE, "client_id": "oauth",
        }  # fmt: skip
        _, granted = await self.json("POST", "/token", data=form)
        credentials = {"username": name, "password": secret}
        _, api = await self.json("POST", "/v2/users/login", json=credentials)
        refresh = {"grant_type": "refresh_token", "refresh_token": offline["refresh_token"]}
        _, refreshed = await self.json("POST", "/token", data={**refresh, "scope": SCOPE})
        again = basic(name, offline["refresh_token"])
        _, second = await self.json("GET", "/token", again, params=query)
        return {
            "bearer": f"Bearer {offline['token']}",
            "refresh token as password": again,
            "oauth bearer": f"Bearer {granted['access_token']}",
            "oauth refresh token": basic(name, granted["refresh_token"]),
            "API token": f"Bearer {api['token']}",
            "refreshed bearer": f"Bearer {refreshed['access_token']}",
            "grandchild": basic(name, second["refresh_token"]),
            "grandchild's bearer": f"Bearer {second['token']}",
        }


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(world, session)


async def user_id(world: World, name: str) -> int:
    user = await world.hub.db.read(users.by_name, name)
    assert user is not None
    return user.id


async def tokens(world: World, name: str) -> list[dict[str, Any]]:
    return await world.hub.db.read(users.tokens_of, await user_id(world, name))


async def logins(world: World, name: str) -> list[dict[str, Any]]:
    return await world.hub.db.read(users.logins_of, await user_id(world, name))


async def test_revoking_a_token_ends_what_was_made_with_it(world: World, client: Client) -> None:
    secret = await access_token(world, "owner", Role.READ, int(time.time()) + 7 * DAY)
    made = await client.descendants("owner", secret)
    for kind, header in made.items():
        assert await client.status(SECRET, header) == 200, kind
    (token,) = await tokens(world, "owner")
    browser = await world.browser("owner")
    await browser.post("/settings/tokens/revoke", token=str(token["id"]))
    await browser.close()
    for kind, header in made.items():
        assert await client.status(SECRET, header) == 401, kind
    assert await logins(world, "owner") == []


async def test_descendants_are_capped_by_scope_and_end(world: World, client: Client) -> None:
    end = int(time.time()) + 60
    secret = await access_token(world, "owner", Role.READ, end)
    made = await client.descendants("owner", secret)
    for kind, header in made.items():
        assert await client.status(UPLOAD, header, "POST") in (401, 403), kind
        assert await client.status(SECRET, header, "DELETE") in (401, 403), kind
    found = await logins(world, "owner")
    assert len(found) == 4
    for login in found:
        assert (login["expires"] <= end, login["role"]) == (True, int(Role.READ))
    query = {"scope": SCOPE}
    _, answer = await client.json("GET", "/token", basic("owner", secret), params=query)
    assert answer["expires_in"] <= 60


async def test_logins_are_listed_and_can_be_ended_alone(world: World, client: Client) -> None:
    secret = await access_token(world, "owner", Role.WRITE)
    by_token = await client.descendants("owner", secret)
    by_password = await client.descendants("owner", PASSWORD)
    browser = await world.browser("owner")
    page = await (await browser.get("/settings")).text()
    for shown in ("Logged-in programs", "docker", "oauth", "API login", "127.0.0.1", "password"):
        assert shown in page
    (first,) = [
        login
        for login in await logins(world, "owner")
        if login["name"] == "oauth" and login["parent"] == "test"
    ]
    await browser.post("/settings/tokens/revoke", token=str(first["id"]))
    assert await client.status(SECRET, by_token.pop("oauth refresh token")) == 401
    for kind, header in by_token.items():
        assert await client.status(SECRET, header) == 200, kind
    # A new password ends what the old one made, and leaves the tokens with a life of their own.
    await browser.post("/settings/password", old=PASSWORD, new="another password")
    assert await client.status(SECRET, by_token["refresh token as password"]) == 200
    for kind, header in by_password.items():
        assert await client.status(SECRET, header) == 401, kind
    await browser.close()


async def test_bearer_tokens_make_no_tokens(world: World, client: Client) -> None:
    bearer = f"Bearer {await world.token('owner', SCOPE)}"
    status, answer = await client.json("GET", "/token?offline_token=true", bearer)
    assert (status, "refresh_token" in answer) == (403, False)


async def test_the_oldest_logins_make_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "_MOST_LOGINS", 3)
    user, now = await user_id(world, "owner"), int(time.time())
    for number in range(5):
        login = users.Login(user, f"login {number}", "", 1, now + 100, None)
        await world.hub.db.write(users.add_login, login, f"hash {number}")
    assert [login["name"] for login in await logins(world, "owner")] == [
        "login 4", "login 3", "login 2",
    ]  # fmt: skip


async def test_an_administrators_narrow_token_administers_nothing(
    world: World, client: Client
) -> None:
    for role in (Role.READ, Role.WRITE):
        secret = await access_token(world, "admin", role)
        query = {"scope": "registry:catalog:*"}
        _, answer = await client.json("GET", "/token", basic("admin", secret), params=query)
        for header in (basic("admin", secret), f"Bearer {answer['token']}"):
            _, catalog = await client.json("GET", "/v2/_catalog", header)
            assert catalog["repositories"] == ["acme/open"]
            assert await client.status(SECRET, header) == 404
    _, answer = await client.json("GET", "/token", basic("admin", PASSWORD), params=query)
    _, catalog = await client.json("GET", "/v2/_catalog", f"Bearer {answer['token']}")
    assert catalog["repositories"] == ["acme/open", "acme/secret"]


@pytest.mark.parametrize(
    ("actions", "shown", "changed"),
    [("pull", 200, 403), ("pull,push", 200, 403), ("delete", 404, 404), ("*", 200, 200)],
)
async def test_bearer_scopes_hold_in_the_api(
    world: World, client: Client, actions: str, shown: int, changed: int
) -> None:
    header = f"Bearer {await world.token('owner', f'repository:acme/secret:{actions}')}"
    url = "/v2/repositories/acme/secret/"
    assert await client.status(url, header) == shown
    status, _ = await client.json("PATCH", url, header, json={"description": "x"})
    assert status == changed
