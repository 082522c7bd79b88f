"""NUL and lone surrogates: every way in answers 400 and not 500."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any
from urllib.parse import urlencode

import aiohttp

from wherry.hub.hub import HUB
from wherry.hub.web.routes import POST

from .conftest import PASSWORD, World, basic

_PLACE = re.compile(r"\{(\w+)[^{}]*(?:\{[^}]*\}[^{}]*)*\}")


def filled(path: str) -> str:
    """A URL that meets a route."""
    values = {"name": "acme/open", "owner": "acme", "comment": "1", "file": "hub.css"}
    return _PLACE.sub(lambda match: values.get(match[1], "1"), path)


async def test_no_url_carries_a_nul(world: World) -> None:
    """Each route, below each method: nothing depends on a handler that thinks of it."""
    app = world.server.app
    assert app[HUB] is world.hub
    routes = [route for route in app.router.routes() if route.resource is not None]
    assert len(routes) > 60
    async with aiohttp.ClientSession(headers={"Authorization": basic("owner", PASSWORD)}) as client:
        for route in routes:
            assert route.resource is not None
            method = "GET" if route.method == "*" else route.method
            url = world.url(filled(route.resource.canonical)) + "?last=%00&q=a%00b&scope=%00"
            async with client.request(method, url) as answer:
                assert answer.status == 400, (method, url, answer.status)


async def test_no_form_carries_a_nul(world: World) -> None:
    browser = await world.browser("owner")
    for path in POST:
        answer = await browser.post(filled(path), next="/\0", name="a\0b")
        assert answer.status == 400, path
    await browser.close()


async def test_no_body_and_no_header_carries_one(world: World) -> None:
    owner = {"Authorization": basic("owner", PASSWORD)}
    nul = base64.b64encode(b"owner\0:x").decode()
    async with aiohttp.ClientSession() as client:

        async def status(method: str, path: str, **request: Any) -> int:
            async with client.request(method, world.url(path), **request) as answer:
                return answer.status

        for path in ("/v2/", "/token", "/v1/search?q=x", "/v2/repositories/acme/"):
            headers = {"Authorization": f"Basic {nul}"}
            assert await status("GET", path, headers=headers) == 401, path
        for text in ("a\0b", "a\ud800b"):
            one = "/v2/repositories/acme/open/"
            body = json.dumps({"full_description": text})
            assert await status("PATCH", one, data=body, headers=owner) == 400
            body = json.dumps({"namespace": "acme", "name": "new", "description": text})
            assert await status("POST", "/v2/repositories/", data=body, headers=owner) == 400
            body = json.dumps({"username": text, "password": text})
            assert await status("POST", "/v2/users/login", data=body) == 400
        deep = "[" * 100_000
        assert await status("POST", "/v2/users/login", data=deep) == 400
        form = {"grant_type": "password", "username": "a\0", "password": "b"}
        assert await status("POST", "/token", data=form) == 400
        manifest = json.loads(world.image.manifest)
        for text in ("application/x\0y", "application/x\ud800y"):
            content = json.dumps({**manifest, "artifactType": text})
            put = await status("PUT", "/v2/acme/open/manifests/2", data=content, headers=owner)
            assert put == 400, text


HEADERS = (
    b"Authorization: Basic \xe9", b"Authorization: Basic \xff\xff==", b"Authorization: \xff x",
    b"Authorization: Bearer whub_\xff", b"Authorization: Bearer \xff.\xff.\xff",
    b"Cookie: hub_session=\xff", b"Cookie: hub_visitor=" + b"\xff" * 40,
    b"Cookie: hub_notice=\xff", b"X-Forwarded-For: \xff", b"X-Forwarded-Host: \xff",
    b"Content-Type: \xff", b"Accept: \xff", b"If-None-Match: \xff", b"Range: bytes=\xff-",
)  # fmt: skip


async def test_headers_of_any_bytes(world: World) -> None:
    blob = f"/v2/acme/open/blobs/{next(iter(world.image.blobs))}"
    paths = ("/", "/login", "/v2/", "/v2/acme/open/manifests/1", "/token", "/v1/search?q=a", blob)
    for line in HEADERS:
        for path in paths:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
            head = f"GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n".encode()
            writer.write(head + line + b"\r\n\r\n")
            status = int((await reader.read()).split(b" ", 2)[1])
            writer.close()
            assert status < 500, (line, path)


async def test_hosts_and_origins_that_are_none(world: World) -> None:
    for host in ("[", "[::1", "a]b", "é", ":", "x:99999999", "a b"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        async with aiohttp.ClientSession(headers=headers) as client:
            for method, path in (("GET", "/"), ("GET", "/v2/"), ("POST", "/login")):
                async with client.request(method, world.url(path)) as answer:
                    assert answer.status in (200, 400, 401, 403), (host, method, path)
    for origin in ("http://[", "http://[::1", "null.example", "", "x://y://z"):
        async with (
            aiohttp.ClientSession(headers={"Origin": origin}) as client,
            client.post(world.url("/login"), data={"name": "x"}) as answer,
        ):
            assert answer.status == 403, origin


URLENCODED = "application/x-www-form-urlencoded"
FORMS: tuple[tuple[str, bytes, int], ...] = (
    (URLENCODED, b"name=%FF", 400),
    (URLENCODED, b"name=\xff", 400),
    (URLENCODED, b"a=1&" * 1000, 400),
    (URLENCODED, "csrf=é".encode(), 403),
    (f"{URLENCODED}; charset=punycode", b"csrf=" + b"a" * 500_000, 403),
    (f"{URLENCODED}; charset=nonsense", b"csrf=x", 403),
    (f"{URLENCODED}; charset=unicode_escape", b"csrf=\\ud800", 403),
    ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"', 400),
    ("text/plain", b"csrf=x", 400),
    ("", b"csrf=x", 400),
)


async def test_forms_that_no_browser_sends(world: World) -> None:
    async with aiohttp.ClientSession() as client:
        for kind, body, status in FORMS:
            for path, wanted in (("/login", status), ("/token", 400)):
                headers = {"Content-Type": kind}
                async with client.post(world.url(path), data=body, headers=headers) as answer:
                    assert answer.status == wanted, (path, kind, body[:50])


async def test_a_browser_with_a_strange_name_can_log_in(world: World) -> None:
    browser = await world.browser("anonymous")
    body = urlencode({"csrf": await browser.csrf(), "name": "owner", "password": PASSWORD}).encode()
    cookies = "; ".join(f"{item.key}={item.value}" for item in browser.session.cookie_jar)
    head = (
        f"POST /login HTTP/1.1\r\nHost: hub\r\nCookie: {cookies}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
    writer.write(head.encode() + b"User-Agent: caf\xe9\r\n\r\n" + body)
    assert (await reader.read()).split(b" ", 2)[1] == b"303"
    writer.close()
    await browser.close()
