"""``docker system df``: what images, containers and volumes take."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from wherry.engine.containers import furnish, views
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
        users: dict[str, int] = {}
        for container in services:
            users[container.record.image] = users.get(container.record.image, 0) + 1
        view["LayersSize"] = await asyncio.to_thread(listing.layers_size, services.images)
        view["Images"] = await asyncio.to_thread(
            lambda: listing.list_images(
                services.images, all=True, shared_size=True, containers=users
            )
        )
    if "container" in kinds:
        view["Containers"] = await asyncio.to_thread(_containers, services)
    if "volume" in kinds:
        view["Volumes"] = await asyncio.to_thread(_volumes, services)
    if "build-cache" in kinds:
        view["BuildCache"] = []
    return view


def _containers(services: Services) -> list[dict[str, Any]]:
    rows = []
    for container in services:
        record = container.record
        written = furnish.written(services.layers.driver, record.id)
        below = sum(services.layers.get(layer).size for layer in record.layers)
        row = views.row_view(services, container)
        rows.append({**row, "SizeRw": written, "SizeRootFs": written + below})
    return rows


def _volumes(services: Services) -> list[dict[str, Any]]:
    return [
        {
            **volume,
            "UsageData": {
                "RefCount": len(services.volumes.references(volume["Name"])),
                "Size": services.volumes.size(volume["Name"]),
            },
        }
        for volume in services.volumes.list()
    ]
