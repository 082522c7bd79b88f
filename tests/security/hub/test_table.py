"""Every route for every role: an outsider reads and writes nothing private.

The table names what each role gets from a private repository. Where nothing is allowed, the
answer must be the same as for a repository that does not exist.
"""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import pytest

from wherry.hub.records import blobs, repositories
from wherry.hub.web.routes import GET, POST

from .conftest import PASSWORD, ROLES, World, basic

SECRET, MISSING = "acme/secret", "acme/missing"
READERS = {"reader", "writer", "owner", "admin"}
WRITERS = {"writer", "owner", "admin"}
ADMINS = {"owner", "admin"}

REGISTRY: list[tuple[str, str, set[str], int]] = [
    ("GET", "tags/list", READERS, 200),
    ("GET", "manifests/1", READERS, 200),
    ("HEAD", "manifests/1", READERS, 200),
    ("GET", "manifests/{digest}", READERS, 200),
    ("GET", "blobs/{blob}", READERS, 200),
    ("HEAD", "blobs/{blob}", READERS, 200),
    ("GET", "referrers/{digest}", READERS, 200),
    ("POST", "blobs/uploads/", WRITERS, 202),
    ("POST", "blobs/uploads/?mount={blob}&from=acme/open", WRITERS, 201),
    ("PUT", "manifests/2", WRITERS, 201),
    ("GET", "blobs/uploads/" + "0" * 32, WRITERS, 404),
    ("PATCH", "blobs/uploads/" + "0" * 32, WRITERS, 404),
    ("PUT", "blobs/uploads/" + "0" * 32 + "?digest={blob}", WRITERS, 404),
    ("DELETE", "blobs/uploads/" + "0" * 32, WRITERS, 404),
    ("DELETE", "manifests/2", ADMINS, 202),
    ("DELETE", "blobs/{blob}", ADMINS, 202),
]

PAGES = {
    "/r/{name}": READERS,
    "/r/{name}/-/tags": READERS,
    "/r/{name}/-/image/1": READERS,
    "/r/{name}/-/compare?from=1&to=1": READERS,
    "/r/{name}/-/settings": ADMINS,
}

FORMS: dict[str, tuple[dict[str, str], set[str]]] = {
    "/r/{name}/-/star": ({"starred": "1"}, READERS),
    "/r/{name}/-/comments": ({"body": "hello"}, READERS),
    "/r/{name}/-/comments/1/edit": ({"body": "changed"}, set()),
    "/r/{name}/-/comments/1/hide": ({"hidden": "1"}, ADMINS),
    "/r/{name}/-/tags/delete": ({"tag": "1"}, ADMINS),
    "/r/{name}/-/tags/restore": ({"trashed": "1"}, ADMINS),
    "/r/{name}/-/settings": ({"private": "1", "description": "d"}, ADMINS),
    "/r/{name}/-/collaborator": ({"user": "reader", "role": "read"}, ADMINS),
    "/r/{name}/-/webhooks": ({"url": "https://hooks.example.com/"}, ADMINS),
    "/r/{name}/-/webhooks/remove": ({"webhook": "1"}, ADMINS),
    "/r/{name}/-/comments/1/delete": ({}, ADMINS),
    "/r/{name}/-/delete": ({"confirm": "wrong"}, ADMINS),
}


async def ask(
    world: World, role: str, method: str, name: str, path: str, header: str = ""
) -> tuple[int, str]:
    blob = next(iter(world.image.blobs))
    target = path.format(digest=world.image.digest, blob=blob)
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    if header:
        headers["Authorization"] = header
    body = world.image.manifest if method == "PUT" and "manifests" in path else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, world.url(f"/v2/{name}/{target}"), headers=headers, data=body
        ) as answer,
    ):
        return answer.status, (await answer.text(errors="replace")).replace(name, "NAME")


@pytest.mark.parametrize("credentials", ["basic", "bearer"])
@pytest.mark.parametrize("role", ROLES)
async def test_registry(world: World, role: str, credentials: str) -> None:
    for method, path, allowed, status in REGISTRY:
        answers = []
        for name in (SECRET, MISSING):
            header = "" if role == "anonymous" else basic(role, PASSWORD)
            if credentials == "bearer":
                scope = f"repository:{name}:pull,push,delete"
                token = await world.token(role, scope, "repository:acme/open:pull")
                header = f"Bearer {token}"
            answers.append(await ask(world, role, method, name, path, header))
        (got, text), (missing, missing_text) = answers
        if role in allowed:
            assert got == status, (role, method, path, text)
        else:
            wanted = {401} if role == "anonymous" else {403, 404}
            if role in READERS:
                wanted = {403, 401}  # may see it, may not change it; its token says no more
            assert got in wanted, (role, method, path, text)
            if role not in READERS:
                assert (got, text) == (missing, missing_text), (role, method, path)


@pytest.mark.parametrize("role", ROLES)
async def test_pages(world: World, role: str) -> None:
    browser = await world.browser(role)
    for path, allowed in PAGES.items():
        answer = await browser.get(path.format(name=SECRET))
        text = _plain(await answer.text(), SECRET)
        if role in allowed:
            assert answer.status == 200, (role, path)
        elif role in READERS:
            assert answer.status == 403, (role, path)
        else:
            missing = await browser.get(path.format(name=MISSING))
            assert answer.status == missing.status, (role, path)
            assert answer.status in (404, 303), (role, path)
            assert text == _plain(await missing.text(), MISSING), (role, path)
    for path in ("/admin",):
        answer = await browser.get(path)
        assert (answer.status == 200) == (role == "admin"), (role, path)
    answer = await browser.get("/u/acme/-/settings")
    assert (answer.status == 200) == (role in ADMINS), role
    for path in ("/", "/search", "/search?q=secret", "/u/acme"):
        answer = await browser.get(path)
        assert ("acme/secret" in await answer.text()) == (role in READERS and path not in ("/",)), (
            role,
            path,
        )
    await browser.close()


def _plain(text: str, name: str) -> str:
    """A page without what differs by request: its name and its CSRF token."""
    return re.sub(r'value="[0-9a-f]{64}"', "", text).replace(name, "NAME")


@pytest.mark.parametrize("role", ROLES)
async def test_forms(world: World, role: str) -> None:
    writer = await world.browser("writer")
    await writer.post(f"/r/{SECRET}/-/comments", body="first")
    await writer.close()
    browser = await world.browser(role)
    for path, (form, allowed) in FORMS.items():
        answer = await _post(browser, path.format(name=SECRET), form)
        text = await answer.text()
        if role == "anonymous":
            assert answer.status == 303, path
            assert answer.headers["Location"].startswith("/login"), path
        elif role in allowed:
            wanted = (400,) if path.endswith("/-/delete") else (303, 404)
            assert answer.status in wanted, (role, path, text)
        elif role == "writer" and path.endswith(("/1/edit", "/1/delete")):  # its own comment
            assert answer.status == 303
        elif role in READERS:
            assert answer.status == 403, (role, path)
        else:
            missing = await _post(browser, path.format(name=MISSING), form)
            assert answer.status == missing.status == 404, (role, path)
            assert _plain(text, SECRET) == _plain(await missing.text(), MISSING)
    await browser.close()


async def test_forms_tell_managers_that_a_user_does_not_exist(world: World) -> None:
    browser = await world.browser("owner")
    for path in (f"/r/{SECRET}/-/collaborator", "/u/acme/-/member"):
        answer = await _post(browser, path, {"user": "nobody", "role": "read"})
        assert answer.status == 400, path
        assert "there is no user nobody" in await answer.text(), path
    await browser.close()


async def _post(browser: Any, path: str, form: dict[str, str]) -> aiohttp.ClientResponse:
    data = {"csrf": await browser.csrf(), **form}
    answer = await browser.session.post(browser.world.url(path), data=data, allow_redirects=False)
    await answer.read()
    return answer  # type: ignore[no-any-return]


def test_the_table_has_every_route_of_repositories() -> None:
    """A new page or form must come into this table."""
    pages = {path.split("?")[0].replace("/image/1", "/image/{reference}") for path in PAGES}
    routed = {re.sub(r"\{name:[^}]*\}", "{name}", path) for path in GET if "{name" in path}
    assert pages == routed
    forms = {path.replace("/comments/1/", "/comments/{comment:\\d+}/") for path in FORMS}
    posted = {re.sub(r"\{name:[^}]*\}", "{name}", path) for path in POST if "{name" in path}
    assert forms == posted


@pytest.mark.parametrize("role", ROLES)
async def test_listings_show_private_names_to_their_readers_only(world: World, role: str) -> None:
    header = {} if role == "anonymous" else {"Authorization": basic(role, PASSWORD)}
    async with aiohttp.ClientSession(headers=header) as session:
        for path in ("/v2/_catalog", "/v1/search?q=secret", "/v1/search?q=acme"):
            async with session.get(world.url(path)) as answer:
                assert answer.status == 200
                assert ("acme/secret" in await answer.text()) == (role in READERS), path
    narrow = await world.token(role, "repository:acme/open:pull")
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {narrow}"}
        async with session.get(world.url("/v2/_catalog"), headers=headers) as answer:
            assert "acme/secret" not in await answer.text()


async def test_mounting_from_private_repositories_needs_a_role_there(world: World) -> None:
    blob = next(iter(world.image.blobs))
    await world.hub.db.write(repositories.create, "outsider/mine", private=False)
    await world.hub.db.write(blobs.unlink, await world.hub.db.read(_open_id), blob)
    for query in (f"mount={blob}&from=acme/secret", f"mount={blob}"):
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                world.url(f"/v2/outsider/mine/blobs/uploads/?{query}"),
                headers={"Authorization": basic("outsider", PASSWORD)},
            ) as answer,
        ):
            assert answer.status == 202, query


def _open_id(conn: Any) -> int:
    found = repositories.find(conn, "acme/open")
    assert found is not None
    return found.id
