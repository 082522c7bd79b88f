"""What Wherry can tell of its store beyond Docker: differences, origins, a full verification."""

from __future__ import annotations

import asyncio
from typing import Any

from wherry.engine.containers.services import Services
from wherry.images import check, compare, tags
from wherry.registry.transfer import Emit, Meter

View = dict[str, Any]


class Audit:
    """Questions about images and the store; answers are JSON-ready."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.images

    async def diff(self, old: str, new: str, *, content: bool = False) -> list[View]:
        """The files that differ between two images, by path; raises NotFound."""

        def work() -> list[View]:
            before, after = self._store.resolve(old), self._store.resolve(new)
            changes = compare.diff_images(self._store, before, after, content=content)
            return [change.view() for change in changes]

        return await asyncio.to_thread(work)

    async def layers(self, name: str) -> list[View]:
        """The steps of an image, the newest first, with the files that each brought."""

        def work() -> list[View]:
            image = self._store.resolve(name)
            steps: list[View] = []
            layers = iter(image.layers)
            for step in image.config.history:
                layer = "" if step.empty_layer else next(layers, "")
                files = compare.layer_files(self._store, image, layer) if layer else ()
                steps.append(
                    {
                        "CreatedBy": step.created_by,
                        "Layer": layer,
                        "Files": [change.view() for change in files],
                    }
                )
            return steps[::-1]

        return await asyncio.to_thread(work)

    async def tag_history(self, name: str) -> list[View]:
        """What a tag pointed at, the newest first; raises NotFound."""
        return [event.view() for event in tags.tag_history(self._store, name)]

    async def rollback(self, name: str, to: str | None = None) -> View:
        """Point a tag at what it pointed at before; raises NotFound and Conflict."""
        image = await asyncio.to_thread(tags.rollback, self._store, name, to)
        self._services.events.publish("image", "tag", image.id, {"name": name})
        return {"Id": image.id}

    async def check(self, emit: Emit = lambda _: None) -> View:
        """Verify every blob, layer, image and name; ``emit`` hears how far it is."""
        meter = Meter(emit, "store")

        def tell(done: int, total: int) -> None:
            meter.at("Verifying", done, total)

        return (await asyncio.to_thread(check.check, self._store, tell)).view()
