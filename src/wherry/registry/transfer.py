"""What pull and push have in common: progress, partial files, known compressed layers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.errors import InvalidParameter
from wherry.storage.archive.channel import Budget, Channel
from wherry.storage.blobs import split_digest
from wherry.storage.statedb import StateDB

Emit = Callable[[Mapping[str, Any]], None]
"""Takes messages in the form of the API's progress streams; may be called from any thread."""

PARTIAL_LIFETIME_SECONDS = 7 * 86400
_WAITING_BYTES = 4 << 20
_PIECE_BYTES = 1 << 18
_PROGRESS_SECONDS = 0.1

MIGRATIONS = (
    """
    CREATE TABLE layer_blobs (
        diff_id TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
        media_type TEXT NOT NULL, domain TEXT NOT NULL, path TEXT NOT NULL,
        PRIMARY KEY (diff_id, domain, path, digest)
    ) WITHOUT ROWID
    """,
    # The check of SQLite before 3.41 takes a table without row ids for damaged
    # when columns of its key come after others.
    """
    ALTER TABLE layer_blobs RENAME TO old_layer_blobs;
    CREATE TABLE layer_blobs (
        diff_id TEXT NOT NULL, domain TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
        size INTEGER NOT NULL, media_type TEXT NOT NULL,
        PRIMARY KEY (diff_id, domain, path, digest)
    ) WITHOUT ROWID;
    INSERT INTO layer_blobs SELECT diff_id, domain, path, digest, size, media_type
        FROM old_layer_blobs;
    DROP TABLE old_layer_blobs
    """,
)


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """A compressed form of a layer and a repository that holds it."""

    diff_id: str
    digest: str
    size: int
    media_type: str
    domain: str
    path: str


class LayerBlobs:
    """Remembers which compressed blobs stand for which layers, and where they are.

    A push of a pulled layer then sends nothing: the registry has the blob already.
    """

    def __init__(self, db: StateDB) -> None:
        db.migrate("registry", MIGRATIONS)
        self._db = db

    def note(self, blob: LayerBlob) -> None:
        """Remember a blob."""
        with self._db.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO layer_blobs VALUES (?, ?, ?, ?, ?, ?)",
                (blob.diff_id, blob.domain, blob.path, blob.digest, blob.size, blob.media_type),
            )

    def of(self, diff_id: str, domain: str) -> list[LayerBlob]:
        """The blobs of a layer at a registry, newest knowledge first."""
        rows = self._db.query(
            "SELECT * FROM layer_blobs WHERE diff_id = ? AND domain = ?", (diff_id, domain)
        )
        return [LayerBlob(**dict(row)) for row in rows]


PUSH_PREFIX = "push-"
"""Names of layers that were compressed for a push; they end with it, or at the next start."""


class Partials:
    """Partial downloads: files named after digests, kept for a week so that pulls go on."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._busy: dict[str, asyncio.Lock] = {}
        os.makedirs(folder, mode=0o700, exist_ok=True)
        oldest = time.time() - PARTIAL_LIFETIME_SECONDS
        for entry in os.scandir(folder):
            if entry.stat().st_mtime < oldest or entry.name.startswith(PUSH_PREFIX):
                os.unlink(entry.path)

    def path(self, digest: str) -> str:
        """Where the partial file of a digest lies; raises InvalidParameter for a bad digest."""
        return os.path.join(self.folder, "-".join(split_digest(digest)))

    def lock(self, digest: str) -> asyncio.Lock:
        """Two pulls of one blob take turns: the second finds the layer there."""
        return self._busy.setdefault(digest, asyncio.Lock())

    def done(self, digest: str) -> None:
        """Remove the file; the content is in the store now."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return


class Pipe:
    """Hands bytes from the event loop to a reading thread, a few pieces ahead.

    The thread sees the end only after `finish`; after `fail` its next read raises.
    """

    def __init__(self) -> None:
        self._channel = Channel(Budget(_WAITING_BYTES))
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, data: bytes) -> None:
        """Add bytes; waits while the reader is behind."""
        self._waiting += data
        if len(self._waiting) < _PIECE_BYTES:  # each piece wakes the reader: not for a packet
            return
        await self._room.wait()
        self._flush()
        if self._channel.full:
            # First clear, then look again: the reader does it the other way round, so that one
            # of both sees what the other did.
            self._room.clear()
            if not self._channel.full:
                self._room.set()

    def _flush(self) -> None:
        piece, self._waiting = bytes(self._waiting), bytearray()
        self._channel.write(piece)

    async def finish(self) -> None:
        """All bytes were given and found right."""
        await self._room.wait()
        self._flush()
        self._channel.finish()

    def fail(self, error: Exception) -> None:
        """The rest will not come."""
        self._channel.finish(error)

    def close(self) -> None:
        """The reader has gone: what is still given is dropped."""
        self._channel.abandon()
        self._loop.call_soon_threadsafe(self._room.set)

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most ``size``; for the reading thread."""
        data = self._channel.read(size)
        if not self._room.is_set() and not self._channel.full:
            self._loop.call_soon_threadsafe(self._room.set)
        return data


class Meter:
    """Tells how far the work on one layer is, at most ten times a second."""

    def __init__(self, emit: Emit, short_id: str) -> None:
        self._emit = emit
        self._id = short_id
        self._told = 0.0

    def say(self, status: str) -> None:
        """A change of state."""
        self._emit({"status": status, "progressDetail": {}, "id": self._id})

    def at(self, status: str, current: int, total: int) -> None:
        """A count of bytes."""
        now = time.monotonic()
        if now - self._told < _PROGRESS_SECONDS and current < total:
            return
        self._told = now
        detail = {"current": current, "total": total}
        self._emit(
            {
                "status": status,
                "progressDetail": detail,
                "progress": bar(current, total),
                "id": self._id,
            }
        )


def bar(current: int, total: int, width: int = 50) -> str:
    """The bar that clients of old print as it comes."""
    if total <= 0:
        return f"{human(current):>8}"
    done = min(width, width * current // total)
    head = "=" * done + ">" if done < width else "=" * width + ">"
    return f"[{head[: width + 1]:<{width}}]  {human(current)}/{human(total)}"


def human(size: float) -> str:
    """A size with four significant digits and SI units, as Docker prints it."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.4g}{unit}"
        size /= 1000
    return f"{size:.4g}TB"


def check_layer_type(media_type: str) -> None:
    """Refuse what is no layer: raises InvalidParameter."""
    known = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
    if media_type and not media_type.startswith(known):
        raise InvalidParameter(f"unsupported media type {media_type} of a layer")
