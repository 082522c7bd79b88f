"""``docker system df``: what images, containers and volumes take."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Any

from wherry.engine.containers.rows import rows
from wherry.engine.containers.services import Services
from wherry.images import listing


async def disk_usage(services: Services, kinds: Collection[str]) -> dict[str, Any]:
    """The object of ``GET /system/df`` for ``container``, ``image``, ``volume``, ``build-cache``;
    what was not asked for is null or 0."""
    view: dict[str, Any] = {
        "LayersSize": 0,
        "Images": None,
        "Containers": None,
        "Volumes": None,
        "BuildCache": None,
    }
    if "image" in kinds:
        users = Counter(container.record.image for container in services)
        view["LayersSize"] = await asyncio.to_thread(listing.layers_size, services.images)
        view["Images"] = await asyncio.to_thread(
            lambda: listing.list_images(
                services.images, all=True, shared_size=True, containers=users
            )
        )
    if "container" in kinds:
        view["Containers"] = await rows(services, list(services), size=True)
    if "volume" in kinds:
        view["Volumes"] = await asyncio.to_thread(services.volumes.usage)
    if "build-cache" in kinds:
        view["BuildCache"] = []
    return view
