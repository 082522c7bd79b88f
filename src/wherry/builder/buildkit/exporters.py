"""Where results go: into the image store, to a registry, or back to the client."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from wherry.builder.backend import Backend, Credentials
from wherry.builder.buildkit import filesync
from wherry.builder.buildkit.progress import Feed, VertexProgress
from wherry.builder.buildkit.sessions import Session
from wherry.builder.copying import Item
from wherry.builder.layertar import layer_tar
from wherry.builder.solver import Solved
from wherry.builder.trees import Tree
from wherry.errors import NotImplementedHere
from wherry.images import reference

T = TypeVar("T")
_IMAGES = ("moby", "image")
_ARCHIVES = ("docker", "oci")
_TRUE = ("1", "t", "T", "true", "TRUE", "True")


@dataclass(frozen=True, slots=True)
class Export:
    """One output that a client asks for; ``index`` tells its targets in the session apart."""

    index: int
    kind: str
    attributes: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The image's names: a line of CSV."""
        rows = list(csv.reader([self.attributes.get("name", "")]))
        return tuple(name.strip() for name in (rows[0] if rows else ()) if name.strip())

    def flag(self, name: str) -> bool:
        """A boolean attribute."""
        return self.attributes.get(name, "") in _TRUE


def check_exports(exports: Sequence[Export]) -> None:
    """Refuse at once what cannot be done later. Raises NotImplementedHere."""
    for export in exports:
        if export.kind not in (*_IMAGES, *_ARCHIVES, "local", "tar"):
            raise NotImplementedHere(f"exporter {export.kind!r} could not be found")
        if export.kind in _IMAGES and export.flag("push-by-digest"):
            raise NotImplementedHere("push-by-digest is not offered")
        if export.kind == "oci" and export.attributes.get("tar") == "false":
            raise NotImplementedHere("the oci exporter writes archives only, not tar=false")


@dataclass(frozen=True, slots=True)
class Exporters:
    """The outputs of one build; ``session`` finds the client, ``register`` makes an image."""

    backend: Backend
    feed: Feed
    session: Callable[[], Awaitable[Session]]
    credentials: Credentials
    register: Callable[[Solved], Awaitable[str]]

    async def run(self, export: Export, solved: Solved) -> dict[str, str]:
        """Make one output; returns what the client is told of it."""
        if export.kind in _IMAGES:
            return await self._image(export, solved)
        if export.kind in _ARCHIVES:
            return await self._archive(export, solved)
        with (
            self.feed.step("exporting to client directory") as vertex,
            vertex.part("copying files"),
        ):
            tree = self.backend.tree(solved.layers)
            session = await self.session()
            if export.kind == "tar":
                stream = await asyncio.to_thread(_tar_of, tree)
                await filesync.send_file(session, export.index, in_threads(stream))
            else:
                await filesync.send_tree(session, export.index, tree)
        return {}

    async def _image(self, export: Export, solved: Solved) -> dict[str, str]:
        with self.feed.step("exporting to image") as vertex:
            with vertex.part("exporting layers"):
                image = await self.register(solved)
            with vertex.part(f"writing image {image}"):
                pass
            for name in export.names:
                await self._name(vertex, image, name)
            if export.kind == "image" and export.flag("push"):
                for name in export.names:
                    await self._push(vertex, name)
        return _told(image, export)

    async def _name(self, vertex: VertexProgress, image: str, name: str) -> None:
        with vertex.part(f"naming to {reference.parse(name).tagged()}"):
            await self.backend.tag(image, name)

    async def _push(self, vertex: VertexProgress, name: str) -> None:
        with vertex.part(f"pushing {name}"):
            await self.backend.push(name, lambda _: None, credentials=self.credentials)

    async def _archive(self, export: Export, solved: Solved) -> dict[str, str]:
        with self.feed.step(f"exporting to {export.kind} image format") as vertex:
            with vertex.part("exporting layers"):
                stream = await asyncio.to_thread(
                    self.backend.archive, solved.config, solved.layers, export.names
                )
            with vertex.part("sending tarball"):
                session = await self.session()
                await filesync.send_file(session, export.index, in_threads(stream))
        return _told(solved.image, export)


def _told(image: str, export: Export) -> dict[str, str]:
    told = {"containerimage.digest": image, "containerimage.config.digest": image}
    if export.names:
        told["image.name"] = ",".join(export.names)
    return told


def _tar_of(tree: Tree) -> Iterator[bytes]:
    """A tree as a tar stream."""
    return layer_tar(
        Item(path, entry, tree=tree, source=path, hard_link=first)
        for path, entry, first in filesync.entries(tree)
    )


async def in_threads(items: Iterator[T]) -> AsyncIterator[T]:
    """An iterator that blocks, each step of it taken in a thread."""
    ended = object()
    while (item := await asyncio.to_thread(next, items, ended)) is not ended:
        yield item  # type: ignore[misc]  # it is no T only at the end
