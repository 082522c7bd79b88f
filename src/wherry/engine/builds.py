"""Building images: the engine's builder, its cache and what clients see of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from wherry.builder.backend import Emit
from wherry.builder.builder import Builder, CacheRecord
from wherry.builder.request import BuildRequest
from wherry.engine.bridging import ThreadReader
from wherry.engine.building import BuildEngine
from wherry.engine.containers.services import Services
from wherry.engine.filters import Filters
from wherry.engine.images import Images
from wherry.storage.statedb import StateDB
from wherry.timestamps import SECOND, parse_moment

if TYPE_CHECKING:
    from wherry.builder.buildkit.service import BuildKit

View = dict[str, Any]
PRUNE_FILTERS = frozenset(
    ("id", "parent", "type", "description", "inuse", "shared", "private", "until", "unused-for")
)


class Builds:
    """``POST /build`` and its neighbours."""

    def __init__(self, services: Services, images: Images, db: StateDB) -> None:
        self._services = services
        self._backend = BuildEngine(services, images)
        self._builder = Builder(self._backend, db)
        services.images.restore = self._builder.restore
        self._buildkit: BuildKit | None = None

    @property
    def buildkit(self) -> BuildKit:
        """BuildKit's API over the same builder."""
        if self._buildkit is None:
            from wherry.builder.buildkit.service import BuildKit  # gRPC is 20 MB of memory

            self._buildkit = BuildKit(self._builder, self._backend)
        return self._buildkit

    async def build(
        self,
        request: BuildRequest,
        context: AsyncIterator[bytes] | None,
        *,
        remote: str = "",
        emit: Emit,
    ) -> None:
        """Build an image; what happens goes to ``emit``, the image's id and names among it."""
        body: Any = ThreadReader(context) if context is not None else None
        await self._builder.build(request, body, remote, emit)

    async def close(self) -> None:
        """Stop the builds of BuildKit's clients; others have ended with their requests."""
        if self._buildkit is not None:
            await self._buildkit.close()
        self._builder.close()

    async def usage(self) -> list[View]:
        """The ``BuildCache`` of ``GET /system/df``."""
        records = await asyncio.to_thread(self._builder.usage)
        return [_view(record) for record in records]

    async def prune(self, *, keep_bytes: int = 0, filters: Filters | None = None) -> View:
        """Forget what the builder keeps; {"CachesDeleted", "SpaceReclaimed"}."""
        wanted = (filters or Filters()).allow(PRUNE_FILTERS)
        until = _until(wanted)
        deleted, size = await asyncio.to_thread(
            lambda: self._builder.prune(
                until=until,
                keep_bytes=keep_bytes,
                wanted=lambda record: _matches(record, wanted),
            )
        )
        self._services.events.publish("builder", "prune", "", {"reclaimed": str(size)})
        return {"CachesDeleted": deleted, "SpaceReclaimed": size}


def _until(filters: Filters) -> float | None:
    for name in ("until", "unused-for"):
        for value in filters.values.get(name, ()):
            return parse_moment(value, time.time_ns()) / SECOND
    return None


def _matches(record: CacheRecord, filters: Filters) -> bool:
    return (
        filters.prefix("id", record.id)
        and filters.exact("type", record.kind)
        and (not filters.get("description") or record.description in filters.get("description"))
        and filters.flag("inuse", record.in_use) == record.in_use
        and filters.flag("shared", record.shared) == record.shared
        and filters.flag("private", not record.shared) != record.shared
    )


def _view(record: CacheRecord) -> View:
    return {
        "ID": record.id,
        "Type": record.kind,
        "Description": record.description,
        "InUse": record.in_use,
        "Shared": record.shared,
        "Size": record.size,
        "CreatedAt": _time(record.created),
        "LastUsedAt": _time(record.used),
        "UsageCount": record.uses,
    }


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
