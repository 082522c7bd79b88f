"""A client that follows the challenge to the letter gets a token that is good for its request."""

from __future__ import annotations

import re

import aiohttp

from wherry.hub.access import Actor
from wherry.hub.accounts.tokens import TokenIssuer
from wherry.hub.records import users

from .conftest import PASSWORD, World, basic

DIGEST = f"sha256:{'0' * 64}"
REPOSITORY = "/v2/acme/secret"
REQUESTS = (
    ("GET", "/v2/", ""),
    ("GET", "/v2/_catalog", "registry:catalog:*"),
    ("GET", f"{REPOSITORY}/tags/list", "repository:acme/secret:pull"),
    ("GET", f"{REPOSITORY}/referrers/{DIGEST}", "repository:acme/secret:pull"),
    ("GET", f"{REPOSITORY}/manifests/1", "repository:acme/secret:pull"),
    ("HEAD", f"{REPOSITORY}/manifests/1", "repository:acme/secret:pull"),
    ("PUT", f"{REPOSITORY}/manifests/1", "repository:acme/secret:pull,push"),
    ("DELETE", f"{REPOSITORY}/manifests/1", "repository:acme/secret:delete"),
    ("GET", f"{REPOSITORY}/blobs/{DIGEST}", "repository:acme/secret:pull"),
    ("HEAD", f"{REPOSITORY}/blobs/{DIGEST}", "repository:acme/secret:pull,push"),
    ("DELETE", f"{REPOSITORY}/blobs/{DIGEST}", "repository:acme/secret:delete"),
    ("POST", f"{REPOSITORY}/blobs/uploads/", "repository:acme/secret:pull,push"),
    ("GET", f"{REPOSITORY}/blobs/uploads/{'0' * 32}", "repository:acme/secret:pull,push"),
    ("PATCH", f"{REPOSITORY}/blobs/uploads/{'0' * 32}", "repository:acme/secret:pull,push"),
    ("PUT", f"{REPOSITORY}/blobs/uploads/{'0' * 32}", "repository:acme/secret:pull,push"),
    ("DELETE", f"{REPOSITORY}/blobs/uploads/{'0' * 32}", "repository:acme/secret:pull,push"),
    ("POST", "/v2/mysql/blobs/uploads/", "repository:library/mysql:pull,push"),
)


async def expired(world: World) -> str:
    user = await world.hub.db.read(users.by_name, "admin")
    assert user is not None
    issuer = TokenIssuer(world.hub.db, 1000, -20)
    return (await issuer.issue("wherry-hub", Actor(user.id, user.name), [])).token


async def test_the_challenge_names_what_the_request_needs(world: World) -> None:
    login = {"Authorization": basic("admin", PASSWORD)}
    async with aiohttp.ClientSession() as session:
        bearer = {"Authorization": f"Bearer {await expired(world)}"}
        for method, path, scope in REQUESTS:
            url, request = world.url(path), f"{method} {path}"
            async with session.request(method, url, headers=bearer) as answer:
                assert answer.status == 401, request
                header = answer.headers["WWW-Authenticate"]
            values = dict(re.findall(r'(\w+)="([^"]*)"', header))
            assert (values.get("scope", ""), values["error"]) == (scope, "invalid_token"), request
            query = {key: values[key] for key in ("service", "scope") if key in values}
            async with session.get(values["realm"], params=query, headers=login) as answer:
                fresh = {"Authorization": f"Bearer {(await answer.json())['token']}"}
            async with session.request(method, url, headers=fresh) as answer:
                assert answer.status not in (401, 403), request


async def test_a_name_that_is_none_does_not_get_into_the_header(world: World) -> None:
    headers = {"Authorization": "Bearer x.y.z"}
    async with aiohttp.ClientSession() as session:
        url = world.url('/v2/a",scope="b/tags/list')
        async with session.get(url, headers=headers) as answer:
            assert answer.status == 401
            assert "scope" not in answer.headers["WWW-Authenticate"]


async def test_blobs_that_need_a_login_are_not_for_shared_caches(world: World) -> None:
    login = {"Authorization": basic("admin", PASSWORD)}
    digest = next(iter(world.image.blobs))

    async def policy(name: str) -> str:
        url = world.url(f"/v2/acme/{name}/blobs/{digest}")
        async with aiohttp.ClientSession() as session, session.get(url, headers=login) as answer:
            assert answer.status == 200
            return answer.headers["Cache-Control"]

    assert (await policy("open")).startswith("public")
    assert (await policy("secret")).startswith("private")
    object.__setattr__(world.hub.config, "anonymous_pull", False)
    assert (await policy("open")).startswith("private")
