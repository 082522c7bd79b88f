"""``docker container prune``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from wherry.engine.containers import furnish
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services
from wherry.engine.filters import Filters
from wherry.errors import Conflict, InvalidParameter
from wherry.timestamps import parse_moment

FILTERS = frozenset({"label", "label!", "until"})


async def prune(
    services: Services, filters: Filters, remove: Callable[[Container], Awaitable[None]]
) -> dict[str, Any]:
    """Let ``remove`` take all containers that do not run and pass the filters."""
    filters.allow(FILTERS)
    until = until_filter(filters)
    removed, reclaimed = [], 0
    for container in services:
        record = container.record
        labels = record.config.labels or {}
        if container.state.running or (until is not None and record.created >= until):
            continue
        if not filters.pairs("label", labels) or not filters.no_pairs("label!", labels):
            continue
        size = await asyncio.to_thread(furnish.written, services.layers.driver, record.id)
        try:
            await remove(container)
        except Conflict:
            continue
        removed.append(record.id)
        reclaimed += size
    services.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
    return {"ContainersDeleted": removed or None, "SpaceReclaimed": reclaimed}


def until_filter(filters: Filters) -> int | None:
    """The moment before which things were made that an ``until`` filter means."""
    given = filters.get("until")
    if len(given) > 1:
        raise InvalidParameter("more than one until filter specified")
    return parse_moment(given[0], time.time_ns()) if given else None
