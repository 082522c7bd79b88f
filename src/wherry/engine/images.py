"""The images of an engine, as the API uses them: the image store in threads, with events."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from wherry.builder.fetch import http_response
from wherry.engine import changes
from wherry.engine.bridging import ThreadReader, from_thread
from wherry.engine.config.codec import encode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.containers.services import Services
from wherry.engine.filters import Filters
from wherry.engine.registries import Registries
from wherry.errors import InvalidParameter, NotFound
from wherry.images import hello, import_, listing, load, reference, save, views
from wherry.images import remove as removal
from wherry.images.platforms import parse_platform
from wherry.images.reference import Reference
from wherry.images.store import Image

View = dict[str, Any]
Emit = Callable[[Mapping[str, Any]], None]
_CHUNK = 1 << 18
_PROGRESS_SECONDS = 0.1


class Images:
    """``GET /images`` and its neighbours; raise NotFound ("No such image: X:latest")."""

    def __init__(self, services: Services, registries: Registries) -> None:
        self._services = services
        self._store = services.images
        self._registries = registries

    def _publish(self, action: str, image_id: str, name: str) -> None:
        self._services.publish_image(action, image_id, name)

    # Views

    async def list(
        self,
        all: bool = False,
        filters: Filters | None = None,
        digests: bool = False,
        shared_size: bool = False,
        manifests: bool = False,
    ) -> builtins.list[View]:
        """``docker images``, newest first."""
        wanted = dict((filters or Filters()).values)
        users = Counter(container.record.image for container in self._services)
        return await asyncio.to_thread(
            lambda: listing.list_images(
                self._store,
                all=all,
                filters=wanted,
                shared_size=shared_size,
                containers=users if shared_size else None,
            )
        )

    async def inspect(
        self, name: str, *, platform: str | None = None, manifests: bool = False
    ) -> View:
        """All there is to know about an image."""
        return await asyncio.to_thread(
            lambda: views.inspect_view(self._store, self._resolve(name, platform))
        )

    def _resolve(self, name: str, platform: str | None = None) -> Image:
        return self._store.resolve(name, parse_platform(platform) if platform else None)

    async def history(self, name: str, *, platform: str | None = None) -> builtins.list[View]:
        """The steps that made it, newest first."""
        return await asyncio.to_thread(
            lambda: views.history_view(self._store, self._resolve(name, platform))
        )

    # Names

    async def tag(self, name: str, repo: str, tag: str) -> None:
        """Give an image one more name."""
        target = reference.with_tag(repo, tag) if tag else reference.parse(repo).tagged()
        if target.digest is not None:
            raise InvalidParameter("refusing to create a tag with a digest reference")
        image_id = self._store.resolve_id(name)
        await asyncio.to_thread(self._store.tag, image_id, target)
        self._publish("tag", image_id, target.familiar)

    async def remove(
        self,
        name: str,
        *,
        force: bool = False,
        noprune: bool = False,
        platforms: Sequence[str] = (),
    ) -> builtins.list[View]:
        """Remove a name, and the image when it was the last; it must be for the one platform."""
        if len(platforms) > 1:
            raise InvalidParameter("multiple platforms are not supported")
        image_id = self._store.resolve_id(name)
        if platforms:  # it must be for that one
            self._resolve(name, platforms[0])
        records = await asyncio.to_thread(
            lambda: removal.remove(
                self._store, name, self._users_of(), force=force, prune=not noprune
            )
        )
        self._published(records, image_id)
        return [dict(record) for record in records]

    def _users_of(self) -> removal.UsersOf:
        users: dict[str, builtins.list[removal.User]] = {}
        for container in self._services:
            user = removal.User(container.id, container.state.running)
            for image_id in container.record.images:
                users.setdefault(image_id, []).append(user)
        return lambda image_id: users.get(image_id, [])

    def _published(self, records: Sequence[Mapping[str, str]], image_id: str) -> None:
        for record in records:
            if "Untagged" in record:
                self._publish("untag", image_id, image_id)
            elif record["Deleted"] == image_id and not self._store.has(image_id):
                self._publish("delete", image_id, image_id)

    async def prune(self, filters: Filters | None = None) -> View:
        """Remove images that nobody uses."""
        wanted = dict((filters or Filters()).values)
        result = await asyncio.to_thread(
            lambda: removal.prune_images(self._store, self._users_of(), wanted)
        )
        for record in result["ImagesDeleted"] or ():
            if "Deleted" in record:
                self._publish("delete", record["Deleted"], record["Deleted"])
        reclaimed = {"reclaimed": str(result["SpaceReclaimed"])}
        self._services.events.publish("image", "prune", "", reclaimed)
        return result

    # Archives

    async def load(
        self,
        archive: AsyncIterator[bytes],
        *,
        quiet: bool = True,
        platform: str | None = None,
        emit: Emit,
    ) -> None:
        """``docker load``: progress and result go to ``emit``, from a thread."""
        reader = ThreadReader(archive)
        wanted = parse_platform(platform) if platform else None
        images = await asyncio.to_thread(
            lambda: load.load(self._store, reader, emit, quiet=quiet, platform=wanted)
        )
        for image in images:
            self._publish("load", image.id, image.id)

    async def load_file(self, path: str) -> builtins.list[View]:
        """Load an archive of this host; the views of its images."""

        def work() -> builtins.list[View]:
            with open(path, "rb") as archive:
                images = load.load(self._store, archive, lambda _: None, quiet=True)
            return [views.inspect_view(self._store, image) for image in images]

        return await asyncio.to_thread(work)

    async def save(
        self, names: Sequence[str], *, platform: str | None = None
    ) -> AsyncIterator[bytes]:
        """``docker save``: an archive in pieces."""
        chosen = parse_platform(platform) if platform else None
        images = await asyncio.to_thread(lambda: save.choose(self._store, names, chosen))
        packed = await asyncio.to_thread(lambda: save.pack(self._store, images))
        for image_id in images:
            self._publish("save", image_id, image_id)
        return from_thread(lambda: packed)

    async def import_(
        self,
        source: str,
        archive: AsyncIterator[bytes] | None,
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str | None = None,
        emit: Emit,
    ) -> None:
        """``docker import``: a root file system becomes an image.

        Without ``archive`` it is fetched from ``source``, an http address. Raises Unavailable.
        """
        if archive is None:
            archive = _downloaded(source, emit)
        target: Reference | None = None
        if repo:
            target = reference.with_tag(repo, tag) if tag else reference.parse(repo).tagged()
        run = _changed(ContainerConfig(), changes)
        reader = ThreadReader(archive)
        image = await asyncio.to_thread(
            lambda: import_.import_image(
                self._store,
                reader,
                run=run,
                message=message,
                target=target,
                platform=parse_platform(platform) if platform else None,
                source=source,
            )
        )
        if target is not None:
            self._publish("tag", image.id, target.familiar)
        self._publish("import", image.id, image.id)
        emit({"status": image.id})

    # Registries

    async def pull(
        self,
        name: str,
        tag: str,
        *,
        platform: str | None = None,
        auth: Mapping[str, Any] | None = None,
        emit: Emit,
    ) -> None:
        """Fetch an image, or every tag of a repository when there is neither tag nor digest.

        The built-in ``hello-world`` comes from nowhere.
        """
        wanted = reference.with_tag_or_digest(name, tag)
        if hello.provides(wanted):
            await asyncio.to_thread(hello.install, self._store)
            wanted = wanted.tagged()
            emit({"status": f"Pulling from {wanted.familiar_name}", "id": wanted.tag})
            emit({"status": f"Status: Downloaded newer image for {wanted.familiar}"})
        elif wanted.tag is None and wanted.digest is None:
            await self._registries.pull_all(wanted, emit, platform=platform, auth=auth)
        else:
            await self._registries.pull(wanted, emit, platform=platform, auth=auth)
        self._publish("pull", wanted.familiar, wanted.familiar_name)

    async def push(
        self,
        name: str,
        tag: str,
        *,
        platform: str | None = None,
        auth: Mapping[str, Any] | None = None,
        emit: Emit,
    ) -> None:
        """Send an image to its registry: one tag, or all of a repository without ``tag``."""
        parsed = reference.parse(name)
        targets = [reference.with_tag(name, tag)] if tag else self._store.tags_of(parsed)
        if not targets:
            emit({"status": f"The push refers to repository [{parsed.name}]"})
            raise NotFound(f"An image does not exist locally with the tag: {parsed.familiar_name}")
        for target in targets:
            if platform:
                self._resolve(target.familiar, platform)  # the one we have must be that one
            await self._registries.push(target, emit, auth=auth)
            self._publish("push", target.familiar, target.familiar_name)

    async def distribution(self, name: str, *, auth: Mapping[str, Any] | None = None) -> View:
        """What the registry says about an image: descriptor and platforms."""
        return await self._registries.inspect(name, auth=auth)

    async def search(
        self,
        term: str,
        *,
        limit: int = 0,
        filters: Filters | None = None,
        auth: Mapping[str, Any] | None = None,
    ) -> builtins.list[View]:
        """``docker search``."""
        return await self._registries.search(
            term, limit=limit, filters=filters or Filters(), auth=auth
        )


async def _downloaded(source: str, emit: Emit) -> AsyncIterator[bytes]:
    """The content of an address in pieces; progress goes to ``emit``."""
    url = source if "://" in source else f"http://{source}"
    if not url.startswith(("http://", "https://")):
        raise InvalidParameter(f"import from {source}: only http and https addresses are fetched")
    emit({"status": f"Downloading from {url}"})
    async with http_response(url) as response:
        total, current, shown = response.content_length, 0, 0.0
        async for chunk in response.content.iter_chunked(_CHUNK):
            current += len(chunk)
            if time.monotonic() - shown >= _PROGRESS_SECONDS:
                shown = time.monotonic()
                detail = {"current": current, **({"total": total} if total else {})}
                emit({"status": "Importing", "progressDetail": detail})
            yield chunk


def _changed(config: ContainerConfig, texts: Sequence[str]) -> dict[str, Any]:
    """The image's run configuration after ``--change`` instructions."""
    shown = encode(changes.apply(config, texts))
    return {key: value for key, value in shown.items() if value}
