"""Downloading a blob so that nothing is fetched twice and nothing wrong is kept.

The bytes go into a partial file beside being handed on; after a cut line, a cancelled pull or a
killed daemon the next attempt reads the partial file and asks for the rest only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from io import FileIO

import aiohttp

from wherry.errors import InvalidParameter, KernelError, Unavailable
from wherry.registry.repository import Repository
from wherry.registry.session import pause

ATTEMPTS_WITHOUT_PROGRESS = 6
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob as a manifest describes it; ``urls`` are places of a foreign layer."""

    digest: str
    size: int
    urls: tuple[str, ...] = ()


async def download(
    repository: Repository, wanted: Wanted, partial: str
) -> AsyncGenerator[bytes, None]:
    """Yield all bytes of a blob while they are written to the file ``partial``.

    The digest and size are checked after the last byte and before the iteration ends: a consumer
    must commit nothing before that. A wrong blob raises InvalidParameter and its partial file is
    removed; failures of the line raise Unavailable after several attempts without progress, and
    the partial file stays for the next time.
    """
    algorithm = wanted.digest.partition(":")[0]
    if algorithm not in ("sha256", "sha512"):
        raise InvalidParameter(f"digest algorithm {algorithm!r} is not supported")
    digest = hashlib.new(algorithm)
    held = 0
    # Appending keeps what an earlier attempt left. Nothing is synced: after a power cut the digest
    # tells whether the file is still what it was.
    with open(partial, "a+b", buffering=0) as file:
        file.seek(0)
        while piece := await asyncio.to_thread(file.read, _PIECE):
            digest.update(piece)
            held += len(piece)
            if held > wanted.size:
                break
            yield piece
        if held <= wanted.size:
            async for piece in _rest(repository, wanted, file, held):
                digest.update(piece)
                held += len(piece)
                yield piece
        problem = _problem(wanted, held, f"{algorithm}:{digest.hexdigest()}")
        if problem:
            os.unlink(partial)
            raise InvalidParameter(f"download from {repository}: {problem}")


def _problem(wanted: Wanted, size: int, digest: str) -> str:
    if size != wanted.size:
        return f"blob {wanted.digest} has {size} bytes, its manifest says {wanted.size}"
    if digest != wanted.digest:
        return f"blob does not have its digest: want {wanted.digest}, got {digest}"
    return ""


async def _rest(
    repository: Repository, wanted: Wanted, file: FileIO, held: int
) -> AsyncIterator[bytes]:
    failures = 0
    while held < wanted.size:
        before = held
        failure = ""
        try:
            async for offset, data in repository.read_blob(wanted.digest, held, wanted.urls):
                fresh = _fresh(offset, data, held)
                if not fresh:
                    continue
                # One byte more than promised is enough to know that the registry is wrong.
                fresh = fresh[: wanted.size - held + 1]
                _append(file, fresh)
                held += len(fresh)
                yield fresh
                if held > wanted.size:
                    return
        except (aiohttp.ClientError, TimeoutError, ConnectionError, Unavailable) as error:
            failure = str(error) or type(error).__name__
        failures = failures + 1 if held == before else 0
        if held < wanted.size and failures:
            if failures >= ATTEMPTS_WITHOUT_PROGRESS:
                reason = failure or "the registry sends no more bytes"
                raise Unavailable(
                    f"download {wanted.digest} from {repository}: stopped at byte {held} of"
                    f" {wanted.size}: {reason}"
                )
            await asyncio.sleep(pause(failures))


def _append(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise KernelError("write download", str(file.name), error.errno or 5) from error


def _fresh(offset: int, data: bytes, held: int) -> bytes:
    """The part of ``data`` (which lies at ``offset``) that comes after ``held`` bytes.

    A registry that ignores ranges starts at 0 again: what is known is passed over. One that skips
    bytes gives nothing usable.
    """
    if offset > held:
        raise Unavailable(f"the registry went on at byte {offset} instead of {held}")
    return data[held - offset :]
