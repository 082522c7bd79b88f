"""What the hub asks of a place that keeps blobs.

An upload grows by appends and becomes a blob in one atomic step. A stored blob has a location
of its own that is never used again: the collector can delete an old location while the same
content is being pushed anew, and neither disturbs the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

State = dict[str, Any]
Update = Callable[[bytes], None]


@dataclass(frozen=True)
class Stored:
    """One stored object as the storage itself sees it, for finding orphans."""

    location: str
    modified: float


class BlobStorage(Protocol):
    """Local files or S3. ``state`` is small JSON that the hub keeps between requests."""

    async def start(self, upload: str) -> State:
        """Begins an upload and returns its first state. Raises NoSpace."""
        ...

    async def size(self, upload: str, state: State) -> int:
        """Bytes received so far. Raises NotFound when the upload is gone."""
        ...

    async def append(
        self, upload: str, state: State, chunks: AsyncIterator[bytes], update: Update
    ) -> State:
        """Appends ``chunks``; ``update`` sees the same bytes in the same order, in a thread.

        When the client breaks off, what arrived is kept and the error goes on to the caller.
        Raises Conflict when another request is appending, and NoSpace when the storage is full:
        what had arrived is given up then.
        """
        ...

    async def finish(self, upload: str, state: State, digest: str) -> str:
        """Makes the upload a durable blob and returns its location. Raises NoSpace."""
        ...

    async def cancel(self, upload: str, state: State) -> None:
        """Forgets the upload; nothing happens when it is gone."""
        ...

    def path(self, location: str) -> Path | None:
        """A local file to send from, if there is one."""
        ...

    async def link(self, location: str, filename: str) -> str | None:
        """A URL that clients may be redirected to, if that is wanted."""
        ...

    def open(self, location: str, offset: int, length: int) -> AsyncIterator[bytes]:
        """Streams ``length`` bytes from ``offset``. Raises NotFound."""
        ...

    async def delete(self, location: str) -> None:
        """Deletes a blob; nothing happens when it is gone."""
        ...

    def walk(self) -> AsyncIterator[Stored]:
        """Every stored blob."""
        ...

    def forgotten(self, before: float) -> AsyncIterator[tuple[str, State]]:
        """Uploads, with a state to cancel them by, that nothing was written to since ``before``."""
        ...

    async def check(self) -> None:
        """Writes something, and raises when that fails (``/ready``)."""
        ...
