"""Known attacks on registries and web sites, one by one."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import re
import socket
import time
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wherry.errors import InvalidParameter
from wherry.hub import outbound
from wherry.hub.access import ANONYMOUS, Actor, Role
from wherry.hub.accounts.tokens import TokenIssuer
from wherry.hub.demo import (
    Step,
    digest_of,
    make_image,
    make_index,
    push_image,
    push_manifest,
)
from wherry.hub.records import repositories, users
from wherry.hub.schema import attempts

from .conftest import PASSWORD, World, access_token, basic

SECRET = "/v2/acme/secret/manifests/1"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg onload=alert(1)>"


async def status(world: World, path: str, authorization: str = "", **request: Any) -> int:
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            request.pop("method", "GET"), world.url(path), headers=headers, **request
        ) as answer,
    ):
        return answer.status


def forge(claims: dict[str, Any], key: Any, algorithm: str, headers: dict[str, Any]) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


async def test_forged_tokens(world: World) -> None:
    good = await world.token("owner", "repository:acme/secret:pull")
    assert await status(world, SECRET, f"Bearer {good}") == 200
    claims = jwt.decode(good, options={"verify_signature": False})
    header = jwt.get_unverified_header(good)
    own = Ed25519PrivateKey.generate()
    head, body, signature = good.split(".")
    public = next(iter(world.hub.issuer._keys.values())).private.public_key().public_bytes_raw()

    def tampered(**changes: Any) -> str:
        changed = base64.urlsafe_b64encode(json.dumps(claims | changes).encode()).rstrip(b"=")
        return f"{head}.{changed.decode()}.{signature}"

    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    embedded = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "x5c": ["AAAA"]}
    for forged in (
        forge(claims, own, "EdDSA", {"kid": header["kid"]}),
        forge(claims, own, "EdDSA", {"kid": "unknown", **embedded}),
        forge(claims, own, "EdDSA", embedded),
        forge(claims, own, "EdDSA", {"kid": "../../etc/passwd"}),
        forge(claims, public, "HS256", {"kid": header["kid"]}),
        f"{none}.{body}.",
        f"{none}.{body}.{signature}",
        tampered(exp=claims["exp"] + 1000),
        tampered(sub="admin"),
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        "x" * 7000,
        "..",
    ):
        assert await status(world, SECRET, f"Bearer {forged}") == 401, forged[:40]


async def test_tokens_end_with_time_audience_role_and_account(world: World) -> None:
    issuer = world.hub.issuer
    user = await world.hub.db.read(users.by_name, "reader")
    assert user is not None
    access = [{"type": "repository", "name": "acme/secret", "actions": ["pull", "push"]}]
    short = TokenIssuer(world.hub.db, 1000, -20)
    actor = Actor(user.id, user.name)
    expired = await short.issue("wherry-hub", actor, access)
    other = await issuer.issue("another-service", actor, access)
    for issued in (expired, other):
        assert await status(world, SECRET, f"Bearer {issued.token}") == 401
    # A token never carries more than the role that its user has now.
    good = (await issuer.issue("wherry-hub", actor, access)).token
    assert await status(world, SECRET, f"Bearer {good}") == 200
    upload = "/v2/acme/secret/blobs/uploads/"
    assert await status(world, upload, f"Bearer {good}", method="POST") == 403
    await world.hub.db.write(lambda conn: users.change(conn, user.id, disabled=True))
    assert await status(world, SECRET, f"Bearer {good}") == 401
    assert await status(world, SECRET, basic("reader", PASSWORD)) == 401


async def test_tokens_are_good_for_their_repository_only(world: World) -> None:
    token = await world.token("owner", "repository:acme/open:pull")
    assert await status(world, SECRET, f"Bearer {token}") == 401
    token = await world.token("owner", "repository:acme/secret:pull")
    upload = "/v2/acme/secret/blobs/uploads/"
    assert await status(world, upload, f"Bearer {token}", method="POST") == 401


async def test_the_token_of_a_pushs_first_question_is_good_for_all_of_it(world: World) -> None:
    """Clients such as oras keep the token that they got for the first HEAD."""
    blob = f"/v2/acme/fresh/blobs/sha256:{'0' * 64}"
    async with aiohttp.ClientSession() as session:
        async with session.get(world.url(blob)) as answer:
            assert 'scope="repository:acme/fresh:pull"' in answer.headers["WWW-Authenticate"]
        async with session.head(world.url(blob)) as answer:
            assert answer.status == 401
            scope = re.search(r'scope="([^"]*)"', answer.headers["WWW-Authenticate"])
        assert scope is not None
        for name, statuses in (("owner", {202}), ("outsider", {401, 403})):
            bearer = {"Authorization": f"Bearer {await world.token(name, scope[1])}"}
            url = world.url("/v2/acme/fresh/blobs/uploads/")
            async with session.post(url, headers=bearer) as answer:
                assert answer.status in statuses


async def test_keys_rotate_and_old_tokens_stay_good_a_while(world: World) -> None:
    issuer = TokenIssuer(world.hub.db, 1000, 300)
    old = (await issuer.issue("wherry-hub", ANONYMOUS, [])).token
    first = jwt.get_unverified_header(old)["kid"]
    await world.hub.db.write(
        lambda conn: conn.exec_driver_sql("UPDATE signing_keys SET created = created - 1500")
    )
    later = TokenIssuer(world.hub.db, 1000, 300)
    new = (await later.issue("wherry-hub", ANONYMOUS, [])).token
    assert jwt.get_unverified_header(new)["kid"] != first
    assert (await later.verify(old, "wherry-hub")).user is None
    await world.hub.db.write(
        lambda conn: conn.exec_driver_sql("UPDATE signing_keys SET created = created - 1500")
    )
    last = TokenIssuer(world.hub.db, 1000, 300)
    await last.issue("wherry-hub", ANONYMOUS, [])
    with pytest.raises(Exception, match="key"):
        await last.verify(old, "wherry-hub")


async def test_access_tokens_keep_to_scope_and_expiry(world: World) -> None:
    read = await access_token(world, "owner", Role.READ)
    write = await access_token(world, "owner", Role.WRITE)
    expired = await access_token(world, "owner", Role.ADMIN, expires=int(time.time()) - 1)
    upload = "/v2/acme/secret/blobs/uploads/"
    for token, pull, push, delete in (
        (read, 200, 403, 403),
        (write, 200, 202, 403),
        (expired, 401, 401, 401),
        ("whub_" + "A" * 43, 401, 401, 401),
    ):
        header = basic("owner", token)
        assert await status(world, SECRET, header) == pull
        assert await status(world, upload, header, method="POST") == push
        assert await status(world, SECRET, header, method="DELETE") == delete
    assert await status(world, SECRET, basic("admin", read)) == 401
    # An administrator's read-only token does not administer.
    admin_read = await access_token(world, "admin", Role.READ)
    assert await status(world, upload, basic("admin", admin_read), method="POST") == 403


async def test_password_guessing_is_slowed_down_and_tells_nothing(world: World) -> None:
    bodies = set()
    async with aiohttp.ClientSession() as session:
        for name in ("owner", "nobody-here", "owner", "nobody-here"):
            headers = {"Authorization": basic(name, "wrong")}
            async with session.get(world.url("/token"), headers=headers) as answer:
                assert answer.status == 401
                bodies.add(await answer.text())
        assert len(bodies) == 1
        seen = []
        for _ in range(25):
            headers = {"Authorization": basic("owner", "wrong")}
            async with session.get(world.url("/token"), headers=headers) as answer:
                seen.append(answer.status)
        assert seen[-1] == 429


async def test_a_burst_of_guesses_is_not_evaluated(world: World) -> None:
    """Attempts count before they are hashed; the same guess many times is many attempts."""
    verified = []
    verify = world.hub.identifier._passwords.verify

    async def watched(stored: str, password: str) -> bool:
        verified.append(password)
        return await verify(stored, password)

    world.hub.identifier._passwords.verify = watched  # type: ignore[method-assign]
    for guess in ("guess {}", "the same"):
        await world.hub.db.write(lambda conn: conn.execute(attempts.delete()))
        verified.clear()
        headers = [basic("owner", guess.format(number)) for number in range(60)]
        seen = await asyncio.gather(*(status(world, "/token", header) for header in headers))
        assert (seen.count(401), seen.count(429)) == (20, 40)
        assert len(verified) <= 20


async def test_others_behind_an_address_still_log_in(world: World) -> None:
    """Nobody shuts out a whole office, nor somebody whose password is known or who has a token."""
    secret = await access_token(world, "owner", Role.READ)
    assert await status(world, "/token", basic("owner", PASSWORD)) == 200
    guesses = [basic("owner", f"guess {number}") for number in range(25)]
    seen = await asyncio.gather(*(status(world, "/token", header) for header in guesses))
    assert 429 in seen
    for name, password in (("reader", PASSWORD), ("owner", PASSWORD), ("owner", secret)):
        assert await status(world, "/token", basic(name, password)) == 200
    # What is right costs nothing: a client that starts many pulls at once is no attacker.
    right = [basic("writer", PASSWORD)] * 40
    seen = await asyncio.gather(*(status(world, "/token", header) for header in right))
    assert set(seen) == {200}


async def test_stored_scripts_are_shown_not_run(world: World) -> None:
    owner = await world.browser("owner")
    await owner.post(
        "/r/acme/open/-/settings",
        description=EVIL,
        readme=f"{EVIL}\n\n[x](javascript:alert(1))\n",
        private="0",
    )
    await owner.post("/r/acme/open/-/comments", body=EVIL)
    await owner.post("/settings/profile", display_name=EVIL, email=EVIL)
    await owner.post("/u/acme/-/settings", display_name=EVIL, description=EVIL, website=EVIL)
    for path in ("/", "/r/acme/open", "/r/acme/open/-/settings", "/u/acme", "/settings",
                 f"/search?q={EVIL}", f"/login?next={EVIL}", f"/r/{EVIL}", f"/{EVIL}"):  # fmt: skip
        answer = await owner.get(path)
        text = (await answer.text()).lower()
        for bad in ("<script>alert", "<img src=x", "<svg onload", 'href="javascript'):
            assert bad not in text, (path, bad)
    await owner.close()


async def test_every_page_has_its_guards(world: World) -> None:
    browser = await world.browser("anonymous")
    for path in ("/", "/login", "/nope", "/r/acme/open", "/static/hub.css"):
        answer = await browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer = await browser.get(f"/v2/acme/open/blobs/{next(iter(world.image.blobs))}")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    await browser.close()


async def test_cookies_cannot_be_read_by_scripts(world: World) -> None:
    browser = await world.browser("owner")
    cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
    assert cookies["hub_session"]["httponly"]
    assert cookies["hub_session"]["samesite"] == "Lax"
    await browser.close()


async def test_forms_of_other_sites_are_refused(world: World) -> None:
    owner, stranger = await world.browser("owner"), await world.browser("outsider")
    target = world.url("/r/acme/open/-/star")
    for data, headers in (
        ({"starred": "1"}, {}),
        ({"starred": "1", "csrf": ""}, {}),
        ({"starred": "1", "csrf": await stranger.csrf()}, {}),
        ({"starred": "1", "csrf": await owner.csrf()}, {"Origin": "https://evil.example"}),
    ):
        async with owner.session.post(target, data=data, headers=headers) as answer:
            assert answer.status == 403
    async with owner.session.get(target, allow_redirects=False) as answer:
        assert answer.status in (404, 405)
    # A session cookie is no credential for the registry: other sites could make use of it.
    async with owner.session.get(world.url(SECRET)) as answer:
        assert answer.status == 401
    await owner.close()
    await stranger.close()


async def test_forms_change_only_what_they_show(world: World) -> None:
    browser = await world.browser("outsider")
    await browser.post(
        "/settings/profile", display_name="n", admin="1", disabled="0", password="x", name="admin"
    )
    user = await world.hub.db.read(users.by_name, "outsider")
    assert user is not None
    assert (user.admin, user.display_name) == (False, "n")
    answer = await browser.post("/settings/tokens/revoke", token="1")
    assert answer.status == 200
    await browser.close()


async def test_one_cannot_revoke_anothers_token(world: World) -> None:
    secret = await access_token(world, "owner", Role.READ)
    browser = await world.browser("outsider")
    for number in range(1, 5):
        await browser.post("/settings/tokens/revoke", token=str(number))
    assert await status(world, SECRET, basic("owner", secret)) == 200
    await browser.close()


async def test_changing_the_password_ends_other_sessions(world: World) -> None:
    one, two = await world.browser("owner"), await world.browser("owner")
    await one.post("/settings/password", old=PASSWORD, new="another password")
    assert (await one.get("/settings")).status == 200
    assert (await two.get("/settings")).status == 303
    assert await status(world, SECRET, basic("owner", PASSWORD)) == 401
    await one.close()
    await two.close()


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../../etc/passwd",
        "/v2/..%2f..%2fetc/manifests/1",
        "/v2/acme/open/blobs/sha256:../../../../etc/passwd",
        "/v2/acme/open/blobs/..%2f..%2fhub.db",
        "/v2/acme/open/manifests/..%2f..%2f1",
        "/v2/acme/open/blobs/uploads/..%2f..%2fhub.db",
        "/v2/acme/../acme/secret/manifests/1",
        "/v2/acme/%2e%2e/acme/secret/manifests/1",
        "/static/..%2fschema.py",
        "/static/../schema.py",
        "/static/%2e%2e/hub.py",
        "/r/..%2f..%2fetc",
        "/u/..%2f..%2fetc",
        "/v2/acme/open/manifests/1%00",
    ],
)
async def test_paths_lead_nowhere(world: World, path: str) -> None:
    """Sent byte for byte, because clients tidy such paths up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    code = int(answer.split(b" ", 2)[1])
    assert code in (400, 401, 404), answer[:200]
    assert b"root:" not in answer
    assert b"SQLite" not in answer
    assert b"import " not in answer


@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/acme/open/tags/list"])
@pytest.mark.parametrize("n", ["1000000000", "9" * 400, "-1", "1e9", "0x10", ""])
async def test_page_sizes(world: World, path: str, n: str) -> None:
    """CVE-2023-2253: no allocation by the client's number."""
    assert await status(world, path, params={"n": n}) in (200, 400)


async def test_manifests_have_a_limit(world: World) -> None:
    """CVE-2017-11468; the limit holds for bodies of announced and of unknown length."""

    async def endless() -> Any:
        for _ in range(200):
            yield b"[" * 65536

    header = basic("owner", PASSWORD)
    url = "/v2/acme/open/manifests/bomb"
    assert await status(world, url, header, method="PUT", data=b"{" * 5_000_000) == 413
    assert await status(world, url, header, method="PUT", data=endless()) == 413
    assert await status(world, url, header, method="PUT", data=b"[" * 300_000) == 400


async def test_uploads_of_others_cannot_be_touched(world: World) -> None:
    url = world.url("/v2/acme/open/blobs/uploads/")
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": basic("writer", PASSWORD)}
        async with session.post(url, headers=headers) as answer:
            location = answer.headers["Location"]
        headers = {"Authorization": basic("owner", PASSWORD)}
        async with session.patch(world.url(location), data=b"x", headers=headers) as answer:
            assert answer.status == 404
        other = location.replace("acme/open", "acme/secret")
        headers = {"Authorization": basic("writer", PASSWORD)}
        async with session.patch(world.url(other), data=b"x", headers=headers) as answer:
            assert answer.status == 404


async def test_quota_stops_uploads(world: World) -> None:
    await world.hub.db.write(
        lambda conn: conn.exec_driver_sql("UPDATE owners SET quota = 20000 WHERE name = 'acme'")
    )
    header = basic("owner", PASSWORD)
    content = os.urandom(30_000)
    import hashlib

    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    code = await status(
        world,
        f"/v2/acme/open/blobs/uploads/?digest={digest}",
        header,
        method="POST",
        data=content,
    )
    assert code == 403
    assert await status(world, f"/v2/acme/open/blobs/{digest}") == 404


async def test_quota_holds_while_bytes_arrive(world: World) -> None:
    """An endless upload is cut off at the quota, not after it filled the disk."""
    await world.hub.db.write(
        lambda conn: conn.exec_driver_sql("UPDATE owners SET quota = 2000000 WHERE name = 'acme'")
    )

    async def endless() -> Any:
        for _ in range(400):
            yield bytes(65536)

    header = basic("owner", PASSWORD)
    async with aiohttp.ClientSession(headers={"Authorization": header}) as session:
        url = world.url("/v2/acme/open/blobs/uploads/")
        async with session.post(url) as answer:
            location = world.url(answer.headers["Location"])
        async with session.patch(location, data=endless()) as answer:
            assert answer.status == 403
    uploads = world.hub.config.data / "uploads"
    assert sum(file.stat().st_size for file in uploads.iterdir()) < 3_000_000


async def test_deleted_blobs_are_gone_at_once(world: World) -> None:
    """CVE-2026-35172: no cache answers for what was deleted."""
    blob = f"/v2/acme/secret/blobs/{next(iter(world.image.blobs))}"
    header = basic("owner", PASSWORD)
    assert await status(world, blob, header) == 200
    assert await status(world, blob, header, method="DELETE") == 202
    assert await status(world, blob, header) == 404


async def test_immutable_tags(world: World) -> None:
    owner = await world.browser("owner")
    await owner.post("/r/acme/open/-/settings", private="0", immutable_tags="1 v*")
    header = basic("owner", PASSWORD)
    index = (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    )
    url = "/v2/acme/open/manifests/1"
    assert await status(world, url, header, method="PUT", data=index) == 403
    assert await status(world, url, header, method="PUT", data=world.image.manifest) == 201
    assert await status(world, url, header, method="DELETE") == 403
    by_digest = f"/v2/acme/open/manifests/{world.image.digest}"
    assert await status(world, by_digest, header, method="DELETE") == 403
    answer = await owner.post("/r/acme/open/-/tags/delete", tag="1")
    assert answer.status == 403
    await owner.close()


async def test_what_an_immutable_tag_needs_stays(world: World) -> None:
    """Layers, config and the images of an index: by no way can the tag be made to break."""
    index = make_index({"amd64": world.image})
    repository = await world.hub.db.read(repositories.find, "acme/open")
    assert repository is not None
    await push_manifest(world.hub, repository, index, ("v1",), "owner")
    owner = await world.browser("owner")
    await owner.post("/r/acme/open/-/settings", private="0", immutable_tags="v*")
    header, base = basic("owner", PASSWORD), "/v2/acme/open"
    needed = [f"{base}/blobs/{digest}" for digest in world.image.blobs]
    needed += [f"{base}/manifests/{world.image.digest}", f"{base}/manifests/{digest_of(index)}"]
    for path in needed:
        assert await status(world, path, header, method="DELETE") == 403, path
        assert await status(world, path, header) == 200, path
    # What another tag needs is not held by it.
    other = make_image([Step("ADD y", {"y": b"another"})])
    await push_image(world.hub, repository, other, ("latest",), "owner")
    for path in [f"{base}/blobs/{digest}" for digest in other.blobs]:
        assert await status(world, path, header, method="DELETE") == 202, path
    assert await status(world, f"{base}/manifests/latest", header, method="DELETE") == 202
    await owner.close()


async def test_tags_in_one_request_have_a_limit(world: World) -> None:
    """Each is answered with a header; http.client, for one, refuses a hundred of them."""
    header = basic("owner", PASSWORD)
    url = f"/v2/acme/open/manifests/{world.image.digest}"
    kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    for count, wanted in ((50, 201), (51, 400)):
        connection = http.client.HTTPConnection("127.0.0.1", world.server.port)
        query = "&".join(f"tag=t{number}" for number in range(count))

        def put(connection: Any = connection, query: str = query) -> tuple[int, int]:
            connection.request(
                "PUT", f"{url}?{query}", world.image.manifest, {"Authorization": header, **kind}
            )
            answer = connection.getresponse()
            return answer.status, len(answer.headers.get_all("OCI-Tag", []))

        assert await asyncio.to_thread(put) == (wanted, count if wanted == 201 else 0)
        connection.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost:5000/", "http://[::1]/", "http://10.0.0.1/",
        "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/",
        "http://2130706433/", "http://0x7f000001/", "http://127.1/", "http://[::ffff:127.0.0.1]/",
        "http://user:pass@example.com/", "ftp://example.com/", "file:///etc/passwd",
        "//example.com", "http://", "http://metadata.google.internal/", "http://[fe80::1]/", "http://[",
        "gopher://127.0.0.1:25/", "http://100.64.0.1/", "http://[2002:7f00:1::]/",
        "http://①②⑦.0.0.1/", "http://127。0。0。1/", "http://[64:ff9b::127.0.0.1]/", "http://[::127.0.0.1]/",
    ],
)  # fmt: skip
async def test_webhooks_do_not_call_into_the_network(world: World, url: str) -> None:
    with pytest.raises(InvalidParameter):
        outbound.check_url(url, private=False)
    owner = await world.browser("owner")
    answer = await owner.post("/r/acme/open/-/webhooks", url=url)
    assert answer.status == 400
    await owner.close()


async def test_names_that_resolve_to_private_addresses_are_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the address is judged by the resolver that the connection uses."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    async def lying(*_: Any, **__: Any) -> Any:
        return answer

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lying)
    async with outbound.session(private=False) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match="no public address"):
            await session.get("http://hooks.example.com/")


async def test_host_header_cannot_break_the_challenge(world: World) -> None:
    async with aiohttp.ClientSession() as session:
        headers = {"Host": 'evil",realm="http://evil.example/'}
        async with session.get(world.url("/v2/"), headers=headers) as answer:
            assert answer.status in (400, 401)
            challenge = answer.headers.get("WWW-Authenticate", "")
            assert challenge.count("realm=") <= 1
