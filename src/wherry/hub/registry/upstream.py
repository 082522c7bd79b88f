"""Pull-through cache: repositories whose content comes from another registry on demand.

An operator ties an owner to an upstream registry; ``mirror/library/alpine`` then is
``library/alpine`` over there. Content is fetched at the first request, verified, and kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin

import aiohttp
import yarl
from aiohttp import web
from sqlalchemy import Connection, select

from wherry.errors import InvalidParameter
from wherry.hub import outbound
from wherry.hub.access import Actor, Role, role
from wherry.hub.config import UpstreamConfig
from wherry.hub.distribution import names
from wherry.hub.distribution.errors import RegistryError
from wherry.hub.distribution.manifest import (
    ImageFacts,
    ParsedManifest,
    parse,
    read_config,
)
from wherry.hub.hub import Hub, hub_of
from wherry.hub.records import blobs, manifests, repositories
from wherry.hub.records.repositories import Repository
from wherry.hub.registry import uploads
from wherry.hub.registry.authorize import Look, look
from wherry.hub.requests import actor_of
from wherry.hub.schema import tags
from wherry.mediatypes import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

_ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_MAX_REDIRECTS = 4
_MAX_TOKEN = 1 << 20  # bytes of the answer that brings a token
_ACTOR = "upstream"
_locks: dict[str, asyncio.Lock] = {}


class Watcher(Protocol):
    """Somebody who looks on while a blob is fetched; never asked to wait."""

    def begin(self, size: int | None) -> None:
        """The upstream answers, with so many bytes (None when it does not say)."""

    def show(self, chunk: bytes) -> None:
        """The next bytes."""


def upstream_of(hub: Hub, name: str) -> tuple[UpstreamConfig, str] | None:
    """The upstream of a repository name, and the name that the repository has there."""
    owner, _, rest = name.partition("/")
    for upstream in hub.config.upstreams:
        if upstream.owner == owner and rest:
            return upstream, rest
    return None


def mirrored_role(hub: Hub, actor: Actor, found: Look, name: str) -> Role:
    """The actor's role, on a repository that is not cached yet too: the one that it will be."""
    mirror = upstream_of(hub, name)
    if found.repository is not None or mirror is None:
        return found.role
    private = hub.config.caches_privately(mirror[0])
    return role(actor, found.standing, private, hub.config.anonymous_pull)


async def _reachable(request: web.Request, name: str) -> tuple[UpstreamConfig, str] | None:
    """The upstream of a name, when there is one and the actor may pull from it."""
    hub, actor = hub_of(request), actor_of(request)
    mirror = upstream_of(hub, name)
    if mirror is None:
        return None
    found = await hub.db.read(look, actor, name, hub.config.anonymous_pull)
    if found.repository is not None:
        private = found.repository.private
    else:
        private = hub.config.caches_privately(mirror[0])
    allowed = mirrored_role(hub, actor, found, name) >= Role.READ
    return mirror if allowed and (not private or actor.in_scope(name, "pull")) else None


async def refresh_manifest(request: web.Request, name: str, reference: str) -> None:
    """Fetches a manifest that is not here, or a tag that is no longer fresh.

    Does nothing for repositories without upstream, and for actors who may not pull; when the
    upstream does not answer, what is here stays good.
    """
    hub = hub_of(request)
    found = await _reachable(request, name)
    if found is None:
        return
    upstream, remote = found
    if await hub.db.read(_is_fresh, name, reference, int(time.time()) - upstream.fresh_seconds):
        return
    async with _locks.setdefault(f"{name}@{reference}", asyncio.Lock()):
        try:
            await _fetch_manifest(hub, upstream, name, remote, reference)
        except (aiohttp.ClientError, OSError, TimeoutError, InvalidParameter):
            hub.metrics.event("upstream_failures")
    _locks.pop(f"{name}@{reference}", None)


def _is_fresh(conn: Connection, name: str, reference: str, since: int) -> bool:
    repository = repositories.find(conn, name)
    if repository is None:
        return False
    if names.is_digest(reference):
        return manifests.by_digest(conn, repository.id, reference) is not None
    updated = conn.execute(
        select(tags.c.updated).where(
            tags.c.repository_id == repository.id, tags.c.name == reference
        )
    ).scalar()
    return updated is not None and updated > since


async def _fetch_manifest(
    hub: Hub, upstream: UpstreamConfig, name: str, remote: str, reference: str
) -> None:
    async with _Client(upstream, remote) as client:
        answer = await client.get(f"manifests/{reference}", {"Accept": _ACCEPT})
        async with answer:
            if answer.status != 200:
                return
            content = await _read(answer, hub.config.max_manifest)
            media_type = answer.headers.get("Content-Type", "")
    digest = names.digest_of(content, reference if names.is_digest(reference) else "sha256:")
    if names.is_digest(reference) and digest != reference:
        raise InvalidParameter(f"{upstream.url} sent something else than {reference}")
    try:
        parsed = parse(content, media_type)
    except RegistryError as error:
        raise InvalidParameter(str(error)) from None
    private = hub.config.caches_privately(upstream)
    repository = await hub.db.write(repositories.create, name, private=private)
    image = None
    if parsed.kind == "image" and parsed.config is not None:
        await fetch_blob(hub, repository, parsed.config.digest)
        image = await _facts(hub, repository, parsed.config.digest)
    tag = "" if names.is_digest(reference) else reference
    await hub.db.write(_store, repository.id, _Fetched(digest, content, parsed, image, tag))


def _document(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body; InvalidParameter when it is larger than ``limit``."""
    content = b""
    while not answer.content.at_eof() and len(content) <= limit:
        content += await answer.content.read(limit + 1 - len(content))
    if len(content) > limit:
        raise InvalidParameter(f"{answer.url} sent more than {limit} bytes")
    return content


@dataclass(frozen=True)
class TagPage:
    """Some tags of an upstream's repository, and whether more follow."""

    tags: list[str]
    more: bool


async def list_tags(
    request: web.Request, name: str, limit: int | None, after: str
) -> TagPage | None:
    """A page of the upstream's own tags; None when it does not answer, or may not be asked."""
    wanted = {"n": limit, "last": after}
    query = urlencode({key: value for key, value in wanted.items() if value not in (None, "")})
    answer = await _ask(request, name, f"tags/list?{query}")
    if answer is None:
        return None
    tags = answer.body.get("tags") or []
    return TagPage([tag for tag in tags if names.is_tag(tag)], answer.more)


async def list_referrers(
    request: web.Request, name: str, subject: str
) -> list[dict[str, Any]] | None:
    """The upstream's descriptors of what refers to ``subject``, as ``list_tags``.

    Where it has no referrers API they are looked for under the tag that clients then use
    (distribution spec, "Referrers Tag Schema").
    """
    for path in (f"referrers/{subject}", f"manifests/{subject.replace(':', '-')}"):
        answer = await _ask(request, name, path)
        if answer is not None:
            found = answer.body.get("manifests")
            listed = found if isinstance(found, list) else []
            return [each for each in map(_descriptor, listed) if each is not None]
    return None


def _descriptor(value: Any) -> dict[str, Any] | None:
    """What of a descriptor is passed on; None when it is none."""
    kinds: dict[str, type] = {
        "mediaType": str, "digest": str, "size": int, "artifactType": str, "annotations": dict,
    }  # fmt: skip
    if not isinstance(value, dict):
        return None
    kept = {key: value[key] for key, kind in kinds.items() if isinstance(value.get(key), kind)}
    if not {"mediaType", "digest", "size"} <= kept.keys():
        return None
    try:
        names.digest(kept["digest"])
    except RegistryError:
        return None
    return kept


@dataclass(frozen=True)
class _Answer:
    body: dict[str, Any]
    more: bool


async def _ask(request: web.Request, name: str, path: str) -> _Answer | None:
    """A JSON object of the upstream; None when there is none, or the actor may not ask."""
    hub = hub_of(request)
    found = await _reachable(request, name)
    if found is None:
        return None
    upstream, remote = found
    try:
        async with _Client(upstream, remote) as client:
            answer = await client.get(path, {"Accept": f"application/json, {OCI_INDEX}"})
            async with answer:
                if answer.status != 200:
                    return None
                body = json.loads(await _read(answer, hub.config.max_manifest))
                more = 'rel="next"' in answer.headers.get("Link", "")
    except (aiohttp.ClientError, OSError, TimeoutError, InvalidParameter, ValueError):
        hub.metrics.event("upstream_failures")
        return None
    except RecursionError:
        return None
    return _Answer(body, more) if isinstance(body, dict) else None


@dataclass(frozen=True)
class _Fetched:
    digest: str
    content: bytes
    parsed: ParsedManifest
    image: ImageFacts | None
    tag: str


def _store(conn: Connection, repository: int, fetched: _Fetched) -> None:
    manifest = manifests.add(
        conn,
        repository,
        fetched.digest,
        fetched.content,
        fetched.parsed,
        fetched.image,
        None,
        _ACTOR,
    )
    if fetched.tag:
        manifests.set_tag(conn, repository, fetched.tag, manifest, _ACTOR)


async def _facts(hub: Hub, repository: Repository, digest: str) -> ImageFacts | None:
    found = await hub.db.read(blobs.find, repository.id, digest)
    if found is None:
        return None
    chunks = hub.storage.open(found[0].location, 0, found[0].size)
    return read_config(b"".join([chunk async for chunk in chunks]))


async def fetch_blob(
    hub: Hub, repository: Repository, digest: str, watcher: Watcher | None = None
) -> bool:
    """Fetches a blob from the repository's upstream; False when there is none.

    Requests for the same blob wait for one download; the ``watcher`` of the one that downloads
    is shown the bytes as they come, before anybody knows whether they are the right ones.
    """
    found = upstream_of(hub, repository.name)
    if found is None:
        return False
    upstream, remote = found
    async with _locks.setdefault(digest, asyncio.Lock()):
        try:
            if await hub.db.read(blobs.has, repository.id, digest):
                return True
            async with _Client(upstream, remote) as client:
                answer = await client.get(f"blobs/{digest}", {})
                async with answer:
                    if answer.status != 200:
                        return False
                    upload = await uploads.begin(hub, repository, _ACTOR)
                    await uploads.append(hub, upload, 0, _chunks(answer, watcher))
            await uploads.finish(hub, repository, upload, digest)
            return True
        except (aiohttp.ClientError, OSError, TimeoutError, InvalidParameter, RegistryError):
            hub.metrics.event("upstream_failures")
            return False
        finally:
            _locks.pop(digest, None)


async def _chunks(answer: aiohttp.ClientResponse, watcher: Watcher | None) -> AsyncIterator[bytes]:
    if watcher is not None:
        watcher.begin(answer.content_length)
    async for chunk in answer.content.iter_any():
        if watcher is not None:
            watcher.show(chunk)
        yield chunk


class _Client:
    """Reads from one repository of an upstream, logging in when it is asked to."""

    def __init__(self, upstream: UpstreamConfig, remote: str) -> None:
        self._upstream = upstream
        self._base = f"{upstream.url.rstrip('/')}/v2/{remote}/"
        self._origin = yarl.URL(upstream.url).origin()
        # An upstream inside the own network is the operator's choice; then so are its redirects.
        self._private = not outbound.is_public_url(upstream.url)
        self._session = outbound.session(private=self._private, total=None)

    async def __aenter__(self) -> _Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """GET with one login on demand; redirects are followed without the credentials."""
        url = self._base + path
        answer = await self._session.get(url, headers=headers, allow_redirects=False)
        if answer.status == 401:
            challenge = answer.headers.get("WWW-Authenticate", "")
            answer.release()
            headers = {**headers, "Authorization": await self._authorization(challenge)}
            answer = await self._session.get(url, headers=headers, allow_redirects=False)
        for _ in range(_MAX_REDIRECTS):
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            url = urljoin(url, answer.headers.get("Location", ""))
            answer.release()
            outbound.check_url(url, private=self._private)
            same = yarl.URL(url).origin() == self._origin
            kept = headers if same else {k: v for k, v in headers.items() if k == "Accept"}
            answer = await self._session.get(url, headers=kept, allow_redirects=False)
        return answer

    async def _authorization(self, challenge: str) -> str:
        secret = f"{self._upstream.username}:{self._upstream.password}".encode()
        basic = f"Basic {base64.b64encode(secret).decode()}"
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            return basic
        values = dict(_CHALLENGE.findall(rest))
        realm = values.pop("realm", "")
        outbound.check_url(realm, private=self._private)
        query = {key: values[key] for key in ("service", "scope") if key in values}
        use = self._upstream.username and self._trusts(realm)
        async with self._session.get(
            realm,
            params=query,
            headers={"Authorization": basic} if use else {},
            allow_redirects=False,
        ) as answer:
            if answer.status != 200:
                raise InvalidParameter(f"{realm} refused a token with status {answer.status}")
            body = _document(await _read(answer, _MAX_TOKEN))
        if not isinstance(body, dict):
            raise InvalidParameter(f"{realm} gave no token")
        return f"Bearer {body.get('token') or body.get('access_token')}"

    def _trusts(self, realm: str) -> bool:
        """Whether the realm may see the password: the registry's own host or its sibling."""
        asked = yarl.URL(realm)
        host, own = asked.raw_host or "", self._origin.raw_host or ""
        parent = own.partition(".")[2]
        sibling = parent.count(".") >= 1 and host.endswith(f".{parent}")
        return asked.scheme == self._origin.scheme and (host == own or sibling)
