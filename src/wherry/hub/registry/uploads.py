"""Pushing blobs: monolithic, chunked, streamed, resumed, cancelled, mounted (spec, "Push")."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import Conflict, NotFound
from wherry.hub.config import HubConfig
from wherry.hub.distribution import names
from wherry.hub.distribution.errors import (
    RegistryError,
    digest_invalid,
    size_invalid,
    too_many_requests,
    upload_invalid,
    upload_unknown,
)
from wherry.hub.hub import Hub, Progress, hub_of
from wherry.hub.records import blobs, quotas, uploads
from wherry.hub.records.repositories import Repository
from wherry.hub.records.uploads import Upload
from wherry.hub.registry.authorize import authorize, authorize_new, may_pull
from wherry.hub.requests import actor_of
from wherry.hub.space import NoSpace

_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d+|\*))?")
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")
_TOUCH_SECONDS = 300
_GRANT_BYTES = 16 * 1024 * 1024
_RETRY_SECONDS = 60
IDLE_SECONDS = 3600
"""After this long without a byte an upload may be given up to make room."""


class OverQuota(RegistryError):
    """The owner of a repository may not store that much."""

    def __init__(self, owner: str) -> None:
        super().__init__(403, "DENIED", f"the storage quota of {owner} is used up")


async def post_upload(request: web.Request) -> web.Response:
    """Starts an upload, mounts a blob, or takes a whole blob in one request."""
    repository = await authorize_new(request)
    hub = hub_of(request)
    mount = request.query.get("mount", "")
    if mount and await _mount(request, repository, mount):
        return _created(repository, mount)
    whole = request.query.get("digest", "")
    if whole:
        names.digest(whole)
    upload = await begin(hub, repository, actor_of(request).label)
    if whole and (request.can_read_body or whole == names.digest_of(b"", whole)):
        await _receive(request, repository, upload)
        await finish(hub, repository, upload, whole)
        return _created(repository, whole)
    return _status(repository, upload, 0, 202)


async def _mount(request: web.Request, repository: Repository, digest: str) -> bool:
    """Shows a blob that another repository has, if the actor may pull from that one."""
    hub = hub_of(request)
    try:
        names.digest(digest)
        source = request.query.get("from", "")
        if source:
            candidates = [names.repository_name(source)]
        else:
            candidates = await hub.db.read(blobs.holders, digest)
    except RegistryError:
        return False
    for name in candidates:
        other = await may_pull(request, name)
        if other is not None and await hub.db.read(blobs.has, other.id, digest):
            return await hub.db.write(_link, repository, digest, hub.config.owner_quota)
    return False


def _link(conn: Connection, repository: Repository, digest: str, default_quota: int) -> bool:
    """Shows a stored blob in the repository, unless the owner's quota is against it."""
    owner = repository.owner_id
    room = quotas.room(conn, owner, default_quota)
    if room is not None and not quotas.has(conn, owner, digest):
        size = blobs.size(conn, digest)
        if size is None or size > room:
            return False
    return blobs.link(conn, repository.id, digest)


async def patch_upload(request: web.Request) -> web.Response:
    """Appends a chunk, or a stream of unknown length."""
    repository, upload = await _upload_of(request)
    size = await _receive(request, repository, upload)
    return _status(repository, upload, size, 202)


async def put_upload(request: web.Request) -> web.Response:
    """Appends what the body holds and makes the upload a blob."""
    repository, upload = await _upload_of(request)
    digest = request.query.get("digest", "")
    if not digest:
        raise digest_invalid("the digest parameter is missing")
    names.digest(digest)
    await _receive(request, repository, upload)
    await finish(hub_of(request), repository, upload, digest)
    return _created(repository, digest)


async def get_upload(request: web.Request) -> web.Response:
    """How many bytes have arrived."""
    repository, upload = await _upload_of(request)
    return _status(repository, upload, await _size(hub_of(request), upload), 204)


async def delete_upload(request: web.Request) -> web.Response:
    """Cancels an upload."""
    _, upload = await _upload_of(request)
    hub = hub_of(request)
    await drop(hub, upload)
    return web.Response(status=204)


async def begin(hub: Hub, repository: Repository, actor: str) -> Upload:
    """A new upload into ``repository``.

    Raises DENIED when the owner's quota is used up, TOOMANYREQUESTS when too many of the owner's
    uploads are under way and none of them is idle, and NoSpace.
    """
    upload = secrets.token_hex(16)
    state = await hub.storage.start(upload)
    try:
        made = await hub.db.write(_admit, repository, upload, actor, state, hub.config)
        if made is None and await _drop_idle(hub, repository):
            made = await hub.db.write(_admit, repository, upload, actor, state, hub.config)
        if made is None:
            raise too_many_requests(_RETRY_SECONDS)
    except BaseException:
        await hub.storage.cancel(upload, state)
        raise
    return made


def _admit(
    conn: Connection, repository: Repository, upload: str, actor: str, state: Any, config: HubConfig
) -> Upload | None:
    """Records the upload; None when its owner has too many."""
    if quotas.room(conn, repository.owner_id, config.owner_quota) == 0:
        raise OverQuota(repository.owner)
    if uploads.count_of_owner(conn, repository.owner_id) >= config.owner_uploads:
        return None
    uploads.add(conn, upload, repository.id, actor, state)
    return Upload(upload, repository.id, actor, state, int(time.time()))


async def _drop_idle(hub: Hub, repository: Repository) -> bool:
    """Gives up the owner's uploads that stand still; False when there is none."""
    before = int(time.time()) - IDLE_SECONDS
    idle = await hub.db.read(uploads.idle_of_owner, repository.owner_id, before)
    for upload in idle:
        await drop(hub, upload)
    return bool(idle)


async def drop(hub: Hub, upload: Upload) -> None:
    """Gives an upload up. Its bytes go first: that works, and helps, when a disk is full."""
    hub.progress.pop(upload.id, None)
    await hub.storage.cancel(upload.id, upload.state)
    await hub.db.write(uploads.remove, upload.id)


async def append(hub: Hub, upload: Upload, size: int, chunks: AsyncIterator[bytes]) -> int:
    """Appends ``chunks`` to an upload that has ``size`` bytes; returns its new size.

    Raises NoSpace; the upload is gone then.
    """
    progress = hub.progress.pop(upload.id, None)
    if progress is None and size == 0:
        progress = Progress(0, names.hasher("sha256:"))
    if progress is not None and progress.size != size:
        progress = None
    received = 0

    def update(chunk: bytes) -> None:
        nonlocal received
        received += len(chunk)
        if progress is not None:
            progress.hasher.update(chunk)

    try:
        state = await hub.storage.append(upload.id, upload.state, chunks, update)
    except NotFound:
        raise upload_unknown(upload.id) from None
    except Conflict as error:
        raise upload_invalid(str(error), 409) from None
    except NoSpace:
        await drop(hub, upload)
        raise
    if progress is not None:
        progress.size = size + received
        hub.remember(upload.id, progress)
        hub.digests.note(upload.id, progress.size, progress.hasher.hexdigest())
    if state != upload.state:
        await hub.db.write(uploads.change, upload.id, state)
        upload.state.clear()
        upload.state.update(state)
    hub.metrics.event("blob_bytes_received", received)
    return size + received


async def finish(hub: Hub, repository: Repository, upload: Upload, digest: str) -> None:
    """Verifies the upload and records it as blob ``digest`` of the repository.

    Raises DIGEST_INVALID, DENIED, NoSpace (the upload is gone then) and BLOB_UPLOAD_UNKNOWN.
    """
    size = await _size(hub, upload)
    progress = hub.progress.pop(upload.id, None)
    try:
        location = await hub.storage.finish(upload.id, upload.state, digest)
    except NotFound:
        raise upload_unknown(upload.id) from None
    except NoSpace:
        await drop(hub, upload)
        raise
    actual = None
    if digest.startswith("sha256:"):
        if progress is not None and progress.size == size:
            actual = f"sha256:{progress.hasher.hexdigest()}"
        elif (known := hub.digests.find(upload.id, size)) is not None:
            actual = f"sha256:{known}"
    if actual is None:
        actual = await _hash_stored(hub, location, size, digest)
        hub.metrics.event("blob_bytes_read_again", size)
    if actual != digest:
        await hub.db.write(uploads.remove, upload.id)
        await hub.storage.delete(location)
        raise digest_invalid("provided digest did not match uploaded content", digest)
    try:
        kept = await hub.db.write(
            _record, upload.id, repository, digest, size, location, hub.config.owner_quota
        )
    except NoSpace:
        await hub.storage.delete(location)
        raise
    if kept != location:
        await hub.storage.delete(location)
    if kept is None:
        raise OverQuota(repository.owner)


def _record(
    conn: Connection,
    upload: str,
    repository: Repository,
    digest: str,
    size: int,
    location: str,
    default_quota: int,
) -> str | None:
    """Ends the upload; the location to keep, or None when the quota does not allow it."""
    uploads.remove(conn, upload)
    room = quotas.room(conn, repository.owner_id, default_quota)
    if room is not None and size > room and not quotas.has(conn, repository.owner_id, digest):
        return None
    return blobs.store(conn, repository.id, digest, size, location)


async def _hash_stored(hub: Hub, location: str, size: int, digest: str) -> str:
    hasher = names.hasher(digest)
    async for chunk in hub.storage.open(location, 0, size):
        hasher.update(chunk)
    return f"{digest.partition(':')[0]}:{hasher.hexdigest()}"


async def _granted(
    hub: Hub, repository: Repository, upload: Upload, size: int, request: web.Request
) -> AsyncIterator[bytes]:
    """The body's chunks, each after the owner's quota has granted room for it.

    A body of known length asks once; others some megabytes at a time, and exactly near the end.
    """

    async def grant(wanted: int) -> bool:
        return await hub.db.write(
            quotas.grant, upload.id, repository.owner_id, wanted, hub.config.owner_quota
        )

    granted = size
    if request.content_length is not None:
        granted += request.content_length
        if not await grant(granted):
            raise OverQuota(repository.owner)
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > granted:
            granted = size + _GRANT_BYTES
            if not await grant(granted):
                granted = size
                if not await grant(granted):
                    raise OverQuota(repository.owner)
        yield chunk


async def _touched(hub: Hub, upload: Upload, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Passes ``chunks`` on and tells the collector now and then that the upload is alive."""
    touched = upload.touched
    async for chunk in chunks:
        if (now := int(time.time())) - touched > _TOUCH_SECONDS:
            await hub.db.write(uploads.touch, upload.id)
            touched = now
        yield chunk


async def _upload_of(request: web.Request) -> tuple[Repository, Upload]:
    repository = await authorize(request, "push")
    text = request.match_info["upload"]
    if not _UPLOAD_ID.fullmatch(text):
        raise upload_unknown(text)
    upload = await hub_of(request).db.read(uploads.find, text, repository.id)
    if upload is None or upload.actor != actor_of(request).label:
        raise upload_unknown(text)
    return repository, upload


async def _size(hub: Hub, upload: Upload) -> int:
    try:
        return await hub.storage.size(upload.id, upload.state)
    except NotFound:
        raise upload_unknown(upload.id) from None


async def _receive(request: web.Request, repository: Repository, upload: Upload) -> int:
    """Appends the request's body after checking where it wants to go."""
    hub = hub_of(request)
    size = await _size(hub, upload)
    content_range = request.headers.get("Content-Range")
    if content_range is not None:
        match = _CONTENT_RANGE.fullmatch(content_range.strip())
        if match is None or int(match[1]) != size or int(match[2]) < int(match[1]):
            refusal = upload_invalid(f"the next byte is {size}, not {content_range[:60]}", 416)
            refusal.headers.update(_headers(request.match_info["name"], upload.id, size))
            raise refusal
        length = int(match[2]) - int(match[1]) + 1
        if request.content_length is not None and request.content_length != length:
            raise size_invalid("Content-Range and Content-Length disagree")
    if not request.can_read_body:
        return size
    if not await hub.db.read(quotas.limit, repository.owner_id, hub.config.owner_quota):
        chunks: AsyncIterator[bytes] = request.content.iter_any()
        return await append(hub, upload, size, _touched(hub, upload, chunks))
    chunks = _granted(hub, repository, upload, size, request)
    try:
        size = await append(hub, upload, size, _touched(hub, upload, chunks))
        if request.content_length is None:
            await hub.db.write(uploads.resize, upload.id, size)
        return size
    except OverQuota:
        await drop(hub, upload)
        raise
    except Exception:
        # The client broke off: the quota gets back what did not arrive.
        with contextlib.suppress(RegistryError, NoSpace):
            await hub.db.write(uploads.resize, upload.id, await _size(hub, upload))
        raise


def _headers(name: str, upload: str, size: int) -> dict[str, str]:
    return {
        "Location": f"/v2/{name}/blobs/uploads/{upload}",
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": upload,
    }


def _status(repository: Repository, upload: Upload, size: int, status: int) -> web.Response:
    return web.Response(status=status, headers=_headers(repository.name, upload.id, size))


def _created(repository: Repository, digest: str) -> web.Response:
    return web.Response(
        status=201,
        headers={
            "Location": f"/v2/{repository.name}/blobs/{digest}",
            "Docker-Content-Digest": digest,
        },
    )
