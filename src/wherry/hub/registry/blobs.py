"""GET, HEAD and DELETE of blobs."""

from __future__ import annotations

import asyncio
import re
import time

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import NotFound
from wherry.hub.distribution import names
from wherry.hub.distribution.errors import RegistryError, blob_unknown
from wherry.hub.hub import Hub, hub_of
from wherry.hub.records import blobs, manifests
from wherry.hub.records.blobs import Blob
from wherry.hub.records.repositories import Repository
from wherry.hub.registry import upstream
from wherry.hub.registry.authorize import authorize
from wherry.hub.registry.immutable import check_unneeded
from wherry.hub.registry.relay import relay

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TOUCH_AFTER = 3600


async def get_blob(request: web.Request) -> web.StreamResponse:
    """A blob, or a range of it (spec, "Pulling blobs")."""
    digest = names.digest(request.match_info["digest"])
    repository = await authorize(request, "pull")
    hub = hub_of(request)
    # RFC 9111, section 3.5: a shared cache may give what is "public" to anybody.
    everybody = hub.config.anonymous_pull and not repository.private
    headers = {
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Cache-Control": f"{'public' if everybody else 'private'}, max-age=31536000",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if request.method == "GET" and "Range" not in request.headers:
        relayed = await relay(hub, request, repository, digest, headers)
        if relayed is not None:
            return relayed
    blob = await _find(hub, repository, digest)
    if f'"{digest}"' in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    if request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": str(blob.size)})
    span = parse_range(request.headers.get("Range", ""), blob.size)
    if span is None:
        raise RegistryError(
            416,
            "RANGE_INVALID",
            "range not satisfiable",
            headers={"Content-Range": f"bytes */{blob.size}"},
        )
    offset, length = span
    status = 200
    if length != blob.size:
        status = 206
        headers["Content-Range"] = f"bytes {offset}-{offset + length - 1}/{blob.size}"
    hub.metrics.event("blob_bytes_sent", length)
    return await send(hub, request, blob, offset, length, status, headers)


async def _find(hub: Hub, repository: Repository, digest: str) -> Blob:
    found = await hub.db.read(blobs.find, repository.id, digest)
    if found is None:
        if await upstream.fetch_blob(hub, repository, digest):
            found = await hub.db.read(blobs.find, repository.id, digest)
        if found is None:
            raise blob_unknown(digest)
    blob, touched = found
    # Whoever saw a blob may rely on it in the manifest that comes next: keep it a while.
    if touched < time.time() - min(_TOUCH_AFTER, hub.config.collect_grace / 4):
        await hub.db.write(blobs.touch, repository.id, [digest])
    return blob


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Offset and length of a Range header; the whole for none or another form of range.

    None when nothing of it lies inside ``size`` bytes (RFC 9110, section 14).
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or match.group() == "bytes=-":
        return 0, size
    first, last = match.groups()
    if len(first) > 19 or len(last) > 19:
        return None
    if not first:
        length = min(int(last), size)
        return (size - length, length) if length else None
    offset = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if offset >= size or end < offset:
        return None
    return offset, end - offset + 1


async def send(
    hub: Hub,
    request: web.Request,
    blob: Blob,
    offset: int,
    length: int,
    status: int,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Sends bytes of a blob: by redirect, by sendfile, or through this process."""
    link = await hub.storage.link(blob.location, blob.digest)
    if link is not None:
        return web.Response(
            status=307, headers={"Location": link, "Docker-Content-Digest": blob.digest}
        )
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = length
    path = hub.storage.path(blob.location)
    if path is None:
        chunks = hub.storage.open(blob.location, offset, length)
        try:
            first = await anext(chunks, b"")
        except NotFound:
            raise blob_unknown(blob.digest) from None
        await response.prepare(request)
        await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
        return response
    try:
        with open(path, "rb") as file:
            await response.prepare(request)
            transport = request.transport
            if transport is None:
                raise ConnectionResetError("client is gone")
            if length:
                await asyncio.get_running_loop().sendfile(transport, file, offset, length)
            await response.write_eof()
    except FileNotFoundError:
        raise blob_unknown(blob.digest) from None
    return response


async def delete_blob(request: web.Request) -> web.Response:
    """Takes a blob out of the repository (spec, "Deleting Blobs")."""
    digest = names.digest(request.match_info["digest"])
    repository = await authorize(request, "delete")
    await hub_of(request).db.write(_remove, repository, digest)
    return web.Response(status=202)


def _remove(conn: Connection, repository: Repository, digest: str) -> None:
    """Takes the blob out. Raises BLOB_UNKNOWN, and DENIED when an immutable tag needs it."""
    check_unneeded(repository, manifests.tags_needing_blob(conn, repository.id, digest), digest)
    if not blobs.unlink(conn, repository.id, digest):
        raise blob_unknown(digest)
