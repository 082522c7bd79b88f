"""The read API: shape, roles, and that a PATCH changes two fields and no more."""

from __future__ import annotations

import aiohttp
import pytest

from wherry.hub.access import Role

from .conftest import PASSWORD, ROLES, World, access_token, basic

READERS = {"reader", "writer", "owner", "admin"}
ADMINS = {"owner", "admin"}
SECRET, MISSING = "/v2/repositories/acme/secret/", "/v2/repositories/acme/missing/"


@pytest.mark.parametrize("role", ROLES)
async def test_roles(world: World, role: str) -> None:
    headers = {} if role == "anonymous" else {"Authorization": basic(role, PASSWORD)}
    async with aiohttp.ClientSession(headers=headers) as session:
        for suffix in ("", "tags/"):
            async with session.get(world.url(SECRET + suffix)) as answer:
                assert answer.status == (200 if role in READERS else 404)
                secret = await answer.text()
            async with session.get(world.url(MISSING + suffix)) as answer:
                assert answer.status == 404
                if role not in READERS:
                    assert await answer.text() == secret
        async with session.get(world.url("/v2/repositories/acme/")) as answer:
            names = [entry["name"] for entry in (await answer.json())["results"]]
            assert ("secret" in names) == (role in READERS)
        body = {"full_description": "# New", "is_private": False, "star_count": 9}
        async with session.patch(world.url(SECRET), json=body) as answer:
            wanted = 200 if role in ADMINS else 403 if role in READERS else 404
            assert answer.status == wanted
            if role in ADMINS:
                shown = await answer.json()
                assert shown["full_description"] == "# New"
                assert (shown["is_private"], shown["star_count"]) == (True, 0)


@pytest.mark.parametrize("role", ROLES)
async def test_making_a_repository(world: World, role: str) -> None:
    headers = {} if role == "anonymous" else {"Authorization": basic(role, PASSWORD)}
    made, url = 201 if role in ADMINS else 401 if role == "anonymous" else 403, "/v2/repositories/"
    fresh = {"namespace": "acme", "name": "fresh", "is_private": True}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(world.url(url), json=fresh) as answer:
            assert answer.status == made
            if made == 201:
                assert (await answer.json())["is_private"] is True
        for body, status in (
            (fresh, 409 if made == 201 else made),
            ({"namespace": "acme", "name": "secret"}, 409 if role in READERS else made),
            ({"namespace": "acme", "name": "../up"}, 400),
            ({"namespace": "acme"}, 400),
            (["x"], 400),
        ):
            async with session.post(world.url(url), json=body) as answer:
                assert answer.status == status, body


async def test_login_for_scripts(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        url = world.url("/v2/users/login")
        async with session.post(url, json={"username": "owner", "password": "wrong"}) as answer:
            assert answer.status == 401
        async with session.post(url, json=["x"]) as answer:
            assert answer.status == 400
        async with session.post(url, json={"username": "owner", "password": PASSWORD}) as answer:
            token = (await answer.json())["token"]
        for scheme in ("JWT", "Bearer"):
            headers = {"Authorization": f"{scheme} {token}"}
            async with session.get(world.url(SECRET), headers=headers) as answer:
                assert answer.status == 200
    read_only = await access_token(world, "owner", Role.READ)
    headers = {"Authorization": f"Bearer {read_only}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.patch(world.url(SECRET), json={"description": "x"}) as answer,
    ):
        assert answer.status == 403


async def test_tags_and_paging(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        url = world.url("/v2/repositories/acme/open/tags/?page_size=1")
        async with session.get(url) as answer:
            body = await answer.json()
    assert (body["count"], body["next"], body["previous"]) == (1, None, None)
    (tag,) = body["results"]
    assert tag["name"] == "1"
    assert tag["images"][0]["architecture"] == "amd64"
