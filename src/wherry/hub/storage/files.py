"""Blobs as local files: written aside, fsynced, renamed; sent with sendfile.

``blobs/sha256/ab/abcd….1f2e3d4c`` is a blob (digest, then the upload it came from) and
``uploads/<id>`` one that is still arriving. Several processes may share the folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from wherry.errors import Conflict, NotFound
from wherry.hub.space import NoSpace, is_full, room
from wherry.hub.storage.base import State, Stored, Update

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_BATCH = 512 * 1024
_READ = 256 * 1024


class FileStorage:
    """Blobs under ``root``, which is made when missing."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._uploads = root / "uploads"
        for folder in (self._blobs, self._uploads):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pool = ThreadPoolExecutor(8, "hub-files")
        # Syncing waits for the disk, not for the processor: it must not hold up the writers.
        self._sync_pool = ThreadPoolExecutor(32, "hub-sync")

    async def start(self, upload: str) -> State:
        if room(self._uploads) < 0:
            raise NoSpace
        try:
            os.close(os.open(self._uploads / upload, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            if is_full(error):
                raise NoSpace from error
            raise
        return {}

    async def size(self, upload: str, state: State) -> int:
        try:
            return (self._uploads / upload).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"upload {upload} is not known") from None

    async def append(
        self, upload: str, state: State, chunks: AsyncIterator[bytes], update: Update
    ) -> State:
        loop = asyncio.get_running_loop()
        handle = self._open_upload(upload)

        def work(batch: list[bytes]) -> None:
            if room(self._uploads) < sum(map(len, batch)):
                raise NoSpace
            _write_all(handle, batch)
            for chunk in batch:
                update(chunk)

        pending: asyncio.Future[None] | None = None
        try:
            async for batch in _batches(chunks):
                if pending is not None:
                    await pending
                pending = loop.run_in_executor(self._pool, work, batch)
        finally:
            try:
                if pending is not None:
                    await asyncio.shield(pending)
            except (OSError, NoSpace) as error:
                raise await self._given_up(upload, error) from error
            finally:
                os.close(handle)
        return state

    async def _given_up(self, upload: str, error: OSError | NoSpace) -> Exception:
        """Frees at once what a full disk cannot complete; the error for the caller."""
        if isinstance(error, NoSpace) or is_full(error):
            await self._call(_unlink, self._uploads / upload)
            return NoSpace()
        return error

    def _open_upload(self, upload: str) -> int:
        try:
            handle = os.open(self._uploads / upload, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            raise NotFound(f"upload {upload} is not known") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise Conflict(f"upload {upload} is being written by another request") from None
        return handle

    async def finish(self, upload: str, state: State, digest: str) -> str:
        algorithm, _, encoded = digest.partition(":")
        location = f"{algorithm}/{encoded[:2]}/{encoded}.{upload[:8]}"
        loop = asyncio.get_running_loop()
        source, target = self._uploads / upload, self._blobs / location
        try:
            await loop.run_in_executor(self._sync_pool, _publish, source, target)
        except OSError as error:
            raise await self._given_up(upload, error) from error
        return location

    async def cancel(self, upload: str, state: State) -> None:
        await self._call(_unlink, self._uploads / upload)

    def path(self, location: str) -> Path | None:
        return self._blobs / location

    async def link(self, location: str, filename: str) -> str | None:
        return None

    async def open(self, location: str, offset: int, length: int) -> AsyncIterator[bytes]:
        try:
            handle = os.open(self._blobs / location, os.O_RDONLY)
        except FileNotFoundError:
            raise NotFound(f"blob {location} is not stored") from None
        loop = asyncio.get_running_loop()
        try:
            end = offset + length
            while offset < end:
                want = min(_READ, end - offset)
                chunk = await loop.run_in_executor(self._pool, os.pread, handle, want, offset)
                if not chunk:
                    raise NotFound(f"blob {location} ends early, at byte {offset} of {end}")
                offset += len(chunk)
                yield chunk
        finally:
            os.close(handle)

    async def delete(self, location: str) -> None:
        await self._call(_unlink, self._blobs / location)

    async def walk(self) -> AsyncIterator[Stored]:
        for algorithm in sorted(os.listdir(self._blobs)):
            for shard in sorted(os.listdir(self._blobs / algorithm)):
                folder = self._blobs / algorithm / shard
                for name in await self._call(os.listdir, folder):
                    try:
                        modified = (folder / name).stat().st_mtime
                    except FileNotFoundError:
                        continue
                    yield Stored(f"{algorithm}/{shard}/{name}", modified)

    async def forgotten(self, before: float) -> AsyncIterator[tuple[str, State]]:
        for name in await self._call(os.listdir, self._uploads):
            try:
                modified = (self._uploads / name).stat().st_mtime
            except FileNotFoundError:
                continue
            if modified < before:
                yield name, {}

    async def check(self) -> None:
        await self._call(_probe, self._uploads)

    async def _call(
        self,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Groups chunks to about half a megabyte, so that threads are called seldom."""
    batch: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size >= _BATCH:
                yield batch
                batch, size = [], 0
    except Exception:
        # The client broke off: what it sent is still good for resuming.
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _write_all(handle: int, batch: list[bytes]) -> None:
    total = sum(map(len, batch))
    written = os.writev(handle, batch)
    if written < total:  # a full disk or a signal: the rest in one piece raises or finishes
        rest = memoryview(b"".join(batch))[written:]
        while rest:
            rest = rest[os.write(handle, rest) :]


def _publish(source: Path, target: Path) -> None:
    """Moves a finished upload to its place so that a crash leaves the old or the new name."""
    try:
        handle = os.open(source, os.O_RDONLY)
    except FileNotFoundError:
        raise NotFound(f"upload {source.name} is not known") from None
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    if not target.parent.exists():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sync_folder(target.parent.parent)
        _sync_folder(target.parent.parent.parent)
    os.rename(source, target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _probe(folder: Path) -> None:
    """Writes a small file through to the disk. Raises NoSpace and OSError."""
    if room(folder) < 0:
        raise NoSpace
    path = folder / f"ready-{secrets.token_hex(8)}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, b"ready\n" * 100)
        os.fsync(handle)
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
