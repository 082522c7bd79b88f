"""PUT, GET, HEAD and DELETE of manifests and tags."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import NotFound
from wherry.hub import events
from wherry.hub.distribution import names
from wherry.hub.distribution.errors import (
    RegistryError,
    digest_invalid,
    manifest_blobs_unknown,
    manifest_unknown,
    tag_invalid,
)
from wherry.hub.distribution.manifest import (
    MAX_CONFIG,
    ImageFacts,
    ParsedManifest,
    parse,
    read_config,
)
from wherry.hub.hub import Hub, hub_of
from wherry.hub.records import blobs, manifests
from wherry.hub.records.manifests import Manifest
from wherry.hub.records.repositories import Repository
from wherry.hub.registry import upstream
from wherry.hub.registry.authorize import authorize, authorize_new, requested_name
from wherry.hub.registry.immutable import check_mutable, check_unneeded
from wherry.hub.requests import actor_of, client_address

_MAX_TAGS = 50
"""Each is answered with a header of its own, and common clients refuse a hundred headers."""
_LAST_MOMENT = 253_402_300_799  # the end of the year 9999, by UTC


async def get_manifest(request: web.Request) -> web.Response:
    """A manifest by tag or digest (spec, "Pulling manifests")."""
    reference = _reference(request)
    await upstream.refresh_manifest(request, requested_name(request), reference)
    repository = await authorize(request, "pull")
    hub = hub_of(request)
    manifest, counts = await hub.db.read(_find, repository.id, reference)
    if manifest is None:
        raise manifest_unknown(reference)
    headers = {
        "Content-Type": manifest.media_type,
        "Docker-Content-Digest": manifest.digest,
        "ETag": f'"{manifest.digest}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if f'"{manifest.digest}"' in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    if request.method == "HEAD":
        headers["Content-Length"] = str(len(manifest.content))
        return web.Response(headers=headers)
    if counts:
        hub.pulls.count(repository.id)
    return web.Response(body=manifest.content, headers=headers)


def _find(conn: Connection, repository: int, reference: str) -> tuple[Manifest | None, bool]:
    """The manifest, and whether a GET of it is a pull of the image.

    An index and the manifest it leads to are fetched one after the other: that is one pull.
    """
    if not names.is_digest(reference):
        return manifests.by_tag(conn, repository, reference), True
    manifest = manifests.by_digest(conn, repository, reference)
    return manifest, not manifests.is_child(conn, repository, reference)


async def put_manifest(request: web.Request) -> web.Response:
    """Stores a manifest and points tags at it (spec, "Pushing Manifests")."""
    reference = _reference(request)
    tags = _tags_of(request, reference)
    repository = await authorize_new(request)
    hub = hub_of(request)
    content = await _body(request, hub.config.max_manifest)
    digest = names.digest_of(content, reference if names.is_digest(reference) else "sha256:")
    if names.is_digest(reference) and digest != reference:
        raise digest_invalid("the manifest does not have the digest of the URL", reference)
    parsed = parse(content, request.headers.get("Content-Type", ""))
    image = await _image_facts(hub, repository, parsed)
    push = Push(
        digest=digest,
        content=content,
        parsed=parsed,
        image=image,
        tags=tuple(tags),
        actor=actor_of(request).label,
        address=client_address(request),
    )
    await hub.db.write(store, repository, push, hub.config.sparse_manifests)
    headers = {
        "Location": f"/v2/{repository.name}/manifests/{digest}",
        "Docker-Content-Digest": digest,
    }
    if parsed.subject:
        headers["OCI-Subject"] = parsed.subject
    response = web.Response(status=201, headers=headers)
    for tag in request.query.getall("tag", []):
        response.headers.add("OCI-Tag", tag)
    return response


@dataclass(frozen=True)
class Push:
    """A manifest on its way into the database."""

    digest: str
    content: bytes
    parsed: ParsedManifest
    image: ImageFacts | None
    tags: tuple[str, ...]
    actor: str
    address: str = ""


def store(conn: Connection, repository: Repository, push: Push, sparse: bool) -> None:
    """Checks what the manifest needs and stores it with its tags, all or nothing.

    Touching the blobs tells whether they are there and keeps the collector off them in one
    statement, so no blob can go between the check and the commit.
    """
    missing = blobs.touch(conn, repository.id, list(push.parsed.required))
    if missing and not sparse:
        raise manifest_blobs_unknown(missing)
    for tag in push.tags:
        check_mutable(conn, repository, tag, push.digest)
    manifest = manifests.add(
        conn,
        repository.id,
        push.digest,
        push.content,
        push.parsed,
        push.image,
        _created(push),
        push.actor,
    )
    for tag in push.tags:
        manifests.set_tag(conn, repository.id, tag, manifest, push.actor)
    events.pushed(conn, repository, push.actor, push.address, push.digest, list(push.tags))


def _created(push: Push) -> int | None:
    text = push.image.created if push.image else ""
    return creation_time(
        text or push.parsed.annotations.get("org.opencontainers.image.created", "")
    )


def creation_time(text: str) -> int | None:
    """Unix seconds of an ISO 8601 time; None for what is none or lies outside 1970 to 9999."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    seconds = int(moment.timestamp())
    return seconds if 0 <= seconds <= _LAST_MOMENT else None


async def _image_facts(
    hub: Hub, repository: Repository, parsed: ParsedManifest
) -> ImageFacts | None:
    """Reads the image config that the manifest names, when it is an image with a sane config."""
    config = parsed.config
    if parsed.kind != "image" or config is None or config.size > MAX_CONFIG:
        return None
    found = await hub.db.read(blobs.find, repository.id, config.digest)
    if found is None or found[0].size > MAX_CONFIG:
        return None
    try:
        chunks = [chunk async for chunk in hub.storage.open(found[0].location, 0, found[0].size)]
    except NotFound:
        return None
    return read_config(b"".join(chunks))


async def _body(request: web.Request, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > limit:
            raise _too_large(limit)
    return bytes(content)


def _too_large(limit: int) -> RegistryError:
    return RegistryError(413, "SIZE_INVALID", f"the manifest is larger than {limit} bytes")


def _reference(request: web.Request) -> str:
    reference = request.match_info["reference"]
    if names.is_digest(reference):
        return names.digest(reference)
    return names.tag_name(reference)


def _tags_of(request: web.Request, reference: str) -> list[str]:
    """Tags to set: the one in the path, or the ``tag`` parameters beside a digest."""
    if not names.is_digest(reference):
        return [reference]
    tags = list(dict.fromkeys(request.query.getall("tag", [])))
    if len(tags) > _MAX_TAGS:
        raise tag_invalid(f"more than {_MAX_TAGS} tags")
    return [names.tag_name(tag) for tag in tags]


async def delete_manifest(request: web.Request) -> web.Response:
    """Removes a tag, or a manifest with all its tags; both can be undone for a while."""
    reference = _reference(request)
    repository = await authorize(request, "delete")
    actor = actor_of(request).label
    await hub_of(request).db.write(remove, repository, reference, actor, client_address(request))
    return web.Response(status=202)


def remove(
    conn: Connection, repository: Repository, reference: str, actor: str, address: str
) -> None:
    """Moves a tag or manifest to the trash. Raises MANIFEST_UNKNOWN and DENIED."""
    if names.is_digest(reference):
        needing = manifests.tags_needing(conn, repository.id, reference)
        check_unneeded(repository, needing, reference)
        if manifests.remove(conn, repository.id, reference, actor) is None:
            raise manifest_unknown(reference)
    else:
        check_mutable(conn, repository, reference, None)
        if not manifests.remove_tag(conn, repository.id, reference, actor):
            raise manifest_unknown(reference)
    events.deleted(conn, repository, actor, address, reference)
