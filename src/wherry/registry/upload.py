"""Uploading a blob: known ones are skipped, interrupted ones continue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import BinaryIO

import aiohttp

from wherry.errors import NotFound, Unavailable, WherryError
from wherry.registry.failures import TooManyRequests
from wherry.registry.repository import Repository
from wherry.registry.session import pause

CHUNK_BYTES = 8 << 20
ATTEMPTS_WITHOUT_PROGRESS = 6


async def upload(
    repository: Repository,
    digest: str,
    open_blob: Callable[[], BinaryIO],
    *,
    sources: Sequence[str] = (),
    progress: Callable[[int], None] = lambda held: None,
) -> str:
    """Bring a blob to a repository; returns ``exists``, ``mounted from X`` or ``pushed``.

    ``sources`` are repositories of the same registry that may already hold it. ``progress`` gets
    the number of bytes that the registry holds. Raises Unavailable when the line fails again and
    again without progress.
    """
    if await repository.has_blob(digest):
        return "exists"
    location = None
    for source in sources:
        try:
            location = await repository.mount_blob(digest, source)
        except WherryError:
            continue
        if location is None:
            return f"mounted from {source}"
        break
    location = location or await repository.start_upload()
    with open_blob() as blob:
        location = await _send(repository, location, blob, progress)
    await repository.finish_upload(location, digest)
    return "pushed"


async def _send(
    repository: Repository, location: str, blob: BinaryIO, progress: Callable[[int], None]
) -> str:
    held = failures = 0
    while True:
        blob.seek(held)
        data = await asyncio.to_thread(blob.read, CHUNK_BYTES)
        if not data:
            return location
        before, wish = held, None
        try:
            location, held = await repository.send_chunk(location, held, data)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, Unavailable) as error:
            location, held = await _recover(repository, location, error)
        except TooManyRequests as refusal:
            wish = refusal.wish
        progress(held)
        failures = 0 if held > before else failures + 1
        if failures >= ATTEMPTS_WITHOUT_PROGRESS:
            raise Unavailable(f"upload to {repository}: stopped at byte {held}")
        if failures:
            await asyncio.sleep(pause(failures, wish))


async def _recover(repository: Repository, location: str, cause: Exception) -> tuple[str, int]:
    """Ask the registry where the upload stands; begin again when it has forgotten."""
    await asyncio.sleep(pause(0))
    try:
        return await repository.upload_status(location)
    except NotFound:
        return await repository.start_upload(), 0
    except Unavailable:
        raise Unavailable(f"upload to {repository}: {cause}") from None
