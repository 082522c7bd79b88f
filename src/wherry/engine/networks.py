"""The networks of an engine, as the API uses them: filters and names on top of the room's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.engine.config.codec import canonical
from wherry.engine.config.network import EndpointSettings, NetworkCreate
from wherry.engine.containers.prune import until_filter
from wherry.engine.containers.services import Services
from wherry.engine.filters import Filters
from wherry.errors import InvalidParameter, NotFound
from wherry.network.model import PREDEFINED
from wherry.timestamps import parse_rfc3339

View = dict[str, Any]

FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
PRUNE_FILTERS = frozenset({"label", "label!", "until"})


class EngineNetworks:
    """``GET /networks`` and its neighbours."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def list(self, filters: Filters | None = None) -> list[View]:
        """Networks that pass the filters."""
        wanted = (filters or Filters()).allow(FILTERS)
        for kind in wanted.get("type"):
            if kind not in ("builtin", "custom"):
                raise InvalidParameter(f"invalid filter: 'type'='{kind}'")
        networks = self._services.networks
        views = await asyncio.to_thread(networks.list)
        if "dangling" in wanted:
            unused = {view["Id"] for view in await asyncio.to_thread(networks.unused)}
            keep = wanted.flag("dangling", False)
            views = [view for view in views if (view["Id"] in unused) == keep]
        return [view for view in views if _matches(view, wanted)]

    async def inspect(
        self, reference: str, *, verbose: bool = False, scope: str | None = None
    ) -> View:
        """One network with its containers."""
        view = await asyncio.to_thread(self._services.networks.inspect, reference)
        if scope and scope != view["Scope"]:
            raise NotFound(f"network {reference} not found")
        return view

    async def create(self, body: Mapping[str, Any]) -> View:
        """Make a network: {"Id", "Warning"}; raises InvalidParameter."""
        return await self._services.networks.create(canonical(NetworkCreate, body))

    async def remove(self, reference: str) -> None:
        """Remove a network that no container is connected to."""
        await self._services.networks.remove(reference)

    async def connect(
        self, reference: str, container: str, endpoint: Mapping[str, Any] | None = None
    ) -> None:
        """Put a container on a network; raises InvalidParameter for a bad ``endpoint``."""
        settings = canonical(EndpointSettings, endpoint or {})
        found = await self._services.settled(container)
        async with found.lock:
            await self._services.networks.connect(reference, found.id, settings)

    async def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        """Take a container off a network."""
        try:
            found = await self._services.settled(container)
        except NotFound:
            if not force:
                raise
            await self._services.networks.disconnect(reference, container, force=True)
            return
        async with found.lock:
            await self._services.networks.disconnect(reference, found.id, force=force)

    async def rules(self) -> Sequence[View]:
        """The firewall rules of the engine, each with its meaning."""
        return self._services.networks.rules()

    async def prune(self, filters: Filters | None = None) -> View:
        """Remove networks that no container uses."""
        wanted = (filters or Filters()).allow(PRUNE_FILTERS)
        until = until_filter(wanted)
        chosen = [
            view["Id"]
            for view in await asyncio.to_thread(self._services.networks.unused)
            if wanted.pairs("label", view["Labels"])
            and wanted.no_pairs("label!", view["Labels"])
            and (until is None or parse_rfc3339(view["Created"]) < until)
        ]
        removed = await self._services.networks.prune(chosen)
        self._services.events.publish("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": removed or None}


def _matches(view: View, filters: Filters) -> bool:
    kind = "builtin" if view["Name"] in PREDEFINED else "custom"
    return (
        filters.exact("driver", view["Driver"])
        and filters.prefix("id", view["Id"])
        and filters.pairs("label", view["Labels"] or {})
        and _has(filters.get("name"), view["Name"])
        and filters.exact("scope", view["Scope"])
        and filters.exact("type", kind)
    )


def _has(wanted: tuple[str, ...], name: str) -> bool:
    matcher = Filters({"name": wanted}) if wanted else Filters()
    return matcher.pattern("name", name)
