"""The volumes of an engine, as the API uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from wherry.engine.config.codec import decode, encode
from wherry.engine.config.volume import VolumeCreate
from wherry.engine.containers.services import Services
from wherry.engine.filters import Filters
from wherry.errors import InvalidParameter

View = dict[str, Any]

FILTERS = frozenset({"dangling", "driver", "label", "name"})
PRUNE_FILTERS = frozenset({"all", "label", "label!"})


class EngineVolumes:
    """``GET /volumes`` and its neighbours."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list(self, filters: Filters | None = None) -> View:
        """{"Volumes", "Warnings"} of those that pass the filters."""
        wanted = (filters or Filters()).allow(FILTERS)
        volumes = self._services.volumes
        found = await asyncio.to_thread(volumes.list)
        if "dangling" in wanted:
            unused = {volume.name for volume in await asyncio.to_thread(volumes.unused)}
            keep = wanted.flag("dangling", False)
            found = [view for view in found if (view["Name"] in unused) == keep]
        return {
            "Volumes": [
                view
                for view in found
                if wanted.exact("driver", view["Driver"])
                and wanted.pattern("name", view["Name"])
                and wanted.pairs("label", view["Labels"] or {})
            ],
            "Warnings": None,
        }

    async def inspect(self, name: str) -> View:
        """One volume."""
        return self._services.volumes.inspect(name)

    async def create(self, body: Mapping[str, Any]) -> View:
        """Make a volume, or find the one of that name and driver."""
        wanted = decode(VolumeCreate, body)
        if wanted.cluster_volume_spec:
            raise InvalidParameter("cluster volumes need a swarm, which Wherry does not offer")
        return await asyncio.to_thread(self._services.volumes.create, encode(wanted))

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume that no container refers to."""
        await asyncio.to_thread(lambda: self._services.volumes.remove(name, force=force))

    async def prune(self, filters: Filters | None = None) -> View:
        """Remove volumes that no container refers to."""
        wanted = (filters or Filters()).allow(PRUNE_FILTERS)
        everything = wanted.flag("all", False)
        volumes = self._services.volumes
        chosen = [
            volume.name
            for volume in volumes.unused()
            if not volume.options  # they cost no space here, as with Docker
            and wanted.pairs("label", volume.labels or {})
            and wanted.no_pairs("label!", volume.labels or {})
        ]
        pruned = await asyncio.to_thread(lambda: volumes.prune(chosen, everything=everything))
        self._services.events.publish("volume", "prune", "", {"reclaimed": str(pruned.size)})
        return {"VolumesDeleted": list(pruned.names), "SpaceReclaimed": pruned.size}
