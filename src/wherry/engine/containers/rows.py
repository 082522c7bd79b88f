"""Rows of ``docker ps``: in slices, with a number of statements that grows with the slices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.engine.containers import furnish, links, views
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services, log
from wherry.engine.slices import slices
from wherry.errors import WherryError
from wherry.images.store import ImageStore


async def rows(
    services: Services, chosen: Sequence[Container], *, size: bool = False
) -> list[dict[str, Any]]:
    """Rows of ``GET /containers/json``, with ``size`` also what each has written.

    A container that is removed meanwhile is left out.
    """
    aliases = links.aliases(services, services.find)
    images = ShownImages(services.images)
    found = []
    async for some in slices(chosen):
        sizes = await asyncio.to_thread(measure, services, some) if size else {}
        settings = services.networks.settings_of([container.id for container in some])
        now = time.time_ns()
        for container in some:
            if container.id in settings:
                names = links.names(container, aliases)
                row = views.row_view(
                    container, settings[container.id], names, images.of(container), now
                )
                found.append(row | sizes.get(container.id, {}))
    return found


class ShownImages:
    """The names of images in the rows of one request: each is looked up once."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._ids: dict[str, str] = {}

    def of(self, container: Container) -> str:
        """The name a container was made with, or the id when that name means another now."""
        record = container.record
        name = record.config.image
        if name not in self._ids:
            self._ids[name] = self._resolved(name)
        return name if self._ids[name] == record.image else record.image

    def _resolved(self, name: str) -> str:
        try:
            return self._images.resolve_id(name)
        except WherryError:
            return ""


def measure(services: Services, containers: Sequence[Container]) -> Mapping[str, dict[str, int]]:
    """``SizeRw`` and ``SizeRootFs`` by container: walks over what they have written; blocks."""
    layers = services.layers.sizes()
    found = {}
    for container in containers:
        record = container.record
        try:
            written = furnish.written(services.layers.driver, record.id)
        except (WherryError, OSError) as error:  # half removed: it keeps no other from its row
            log.warning("measure container %s: %s", record.id, error)
            written = 0
        below = sum(layers.get(layer, 0) for layer in record.layers)
        found[record.id] = {"SizeRw": written, "SizeRootFs": written + below}
    return found
