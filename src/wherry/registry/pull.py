"""Pulling an image: manifests first, then all layers at once.

For each layer download, verification, decompression and extraction go on side by side: bytes
flow from the socket through the digest into a pipe, and a thread on the other end unpacks them.
The layer appears only after the last byte was found right.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from wherry.errors import InvalidParameter, NotFound, Unauthorized, Unavailable, WherryError
from wherry.images import config as configs
from wherry.images import manifest as manifests
from wherry.images.config import SIZE_LIMIT
from wherry.images.manifest import Descriptor, Index
from wherry.images.platforms import Platform, this_platform
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.mediatypes import CONFIGS
from wherry.registry.credentials import ANONYMOUS, Credentials
from wherry.registry.download import Wanted, download
from wherry.registry.failures import manifest_unknown, pull_denied
from wherry.registry.hosts import RegistryOptions
from wherry.registry.repository import Repository
from wherry.registry.session import open_sessions
from wherry.registry.transfer import (
    Emit,
    LayerBlob,
    LayerBlobs,
    Meter,
    Partials,
    Pipe,
    check_layer_type,
)
from wherry.storage.archive.compression import decompressed

DEFAULT_PARALLEL_LAYERS = 3


@dataclass(frozen=True, slots=True)
class Puller:
    """What pulls need of an engine."""

    store: ImageStore
    known: LayerBlobs
    partials: Partials
    options: RegistryOptions
    parallel: int = DEFAULT_PARALLEL_LAYERS

    async def pull(
        self,
        reference: Reference,
        emit: Emit,
        *,
        credentials: Credentials = ANONYMOUS,
        platform: Platform | None = None,
    ) -> Image:
        """Bring the image of a tag or digest reference into the store and name it.

        Raises NotFound, Unauthorized, InvalidParameter for wrong content, Unavailable for a line
        that stays dead; what was downloaded so far serves the next attempt.
        """
        wanted = reference.digest or reference.tag
        if wanted is None:
            raise InvalidParameter(f"pull {reference}: neither a tag nor a digest is named")
        failure: WherryError | None = None
        sessions = open_sessions(reference.domain, self.options, credentials)
        async with contextlib.aclosing(sessions):
            async for session in sessions:
                repository = Repository(session, reference.path)
                try:
                    return await self._pull(repository, reference, wanted, emit, platform)
                except (NotFound, Unauthorized, Unavailable) as error:
                    failure = _in_known_words(error, reference, bool(credentials))
                    if not session.endpoint.mirror:
                        break
        raise failure or pull_denied(reference.familiar_name)

    async def _pull(
        self,
        repository: Repository,
        reference: Reference,
        wanted: str,
        emit: Emit,
        platform: Platform | None,
    ) -> Image:
        sent = await repository.manifest(wanted)
        emit({"status": f"Pulling from {reference.path}", "id": wanted})
        manifest = manifests.parse(sent.data, sent.media_type)
        if isinstance(manifest, Index):
            target = platform or this_platform()
            chosen = manifests.choose(manifest, target, str(reference))
            part = await repository.manifest(chosen.digest)
            manifest = manifests.parse(part.data, part.media_type)
            if isinstance(manifest, Index):
                raise InvalidParameter(f"pull {reference}: an index lists another index")
        if manifest.config.media_type not in CONFIGS:
            raise InvalidParameter(
                f"pull {reference}: it is no image but {manifest.config.media_type}"
            )
        config = await self._config(repository, manifest.config)
        parsed = configs.parse(config)
        if len(parsed.diff_ids) != len(manifest.layers):
            raise InvalidParameter(
                f"pull {reference}: the config names {len(parsed.diff_ids)} layers,"
                f" the manifest {len(manifest.layers)}"
            )
        with self.store.layers.lease() as protect:
            layers = dict(zip(parsed.diff_ids, manifest.layers, strict=True))
            await self._layers(repository, reference, layers, protect, emit)
            image = await asyncio.to_thread(self.store.create, config)
        return self._name(reference, sent.digest, image, emit)

    async def _config(self, repository: Repository, descriptor: Descriptor) -> bytes:
        if descriptor.size > SIZE_LIMIT:
            raise InvalidParameter(f"config {descriptor.digest} has {descriptor.size} bytes")
        wanted = Wanted(descriptor.digest, descriptor.size)
        async with self.partials.lock(descriptor.digest):
            pieces = download(repository, wanted, self.partials.path(descriptor.digest))
            data = b"".join([piece async for piece in pieces])
            self.partials.done(descriptor.digest)
        return data

    async def _layers(
        self,
        repository: Repository,
        reference: Reference,
        layers: dict[str, Descriptor],
        protect: Callable[[str], None],
        emit: Emit,
    ) -> None:
        turns = asyncio.Semaphore(self.parallel)
        for diff_id in layers:
            protect(diff_id)

        async def one(diff_id: str, descriptor: Descriptor) -> None:
            meter = Meter(emit, descriptor.digest.partition(":")[2][:12])
            if self.store.layers.has(diff_id):
                meter.say("Already exists")
            else:
                meter.say("Pulling fs layer")
                async with turns, self.partials.lock(descriptor.digest):
                    if not self.store.layers.has(diff_id):
                        await self._layer(repository, diff_id, descriptor, meter)
                meter.say("Pull complete")
            self.known.note(
                LayerBlob(
                    diff_id,
                    descriptor.digest,
                    descriptor.size,
                    descriptor.media_type,
                    reference.domain,
                    reference.path,
                )
            )

        tasks = [asyncio.create_task(one(*pair)) for pair in layers.items()]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _layer(
        self, repository: Repository, diff_id: str, descriptor: Descriptor, meter: Meter
    ) -> None:
        check_layer_type(descriptor.media_type)
        pipe = Pipe()

        def unpack() -> None:
            try:
                self.store.layers.add(decompressed(pipe, f"layer {descriptor.digest}"), diff_id)
                # A compressed stream may end before its blob does: the rest is read, too, since
                # only the whole blob has the digest.
                while pipe.read(1 << 18):
                    pass
            finally:
                pipe.close()

        work = asyncio.create_task(asyncio.to_thread(unpack))
        wanted = Wanted(descriptor.digest, descriptor.size, descriptor.urls)
        held = 0
        try:
            pieces = download(repository, wanted, self.partials.path(descriptor.digest))
            async with contextlib.aclosing(pieces):
                async for piece in pieces:
                    held += len(piece)
                    meter.at("Downloading", held, descriptor.size)
                    await pipe.put(piece)
                    if work.done():
                        await work  # the unpacking failed: its reason counts
            meter.say("Download complete")
            meter.at("Extracting", descriptor.size, descriptor.size)
            await pipe.finish()
        except asyncio.CancelledError:
            await _stop(pipe, work, Unavailable("the pull was cancelled"))
            raise
        except Exception as error:
            await _stop(pipe, work, error)
            raise
        await work
        self.partials.done(descriptor.digest)

    def _name(self, reference: Reference, digest: str, image: Image, emit: Emit) -> Image:
        by_digest = Reference(reference.domain, reference.path, digest=digest)
        before = self.store.pointed(by_digest if reference.tag is None else reference)
        origin = f"pull {reference.domain}/{reference.path}@{digest}"
        self.store.tag(image.id, by_digest, origin)
        if reference.tag is not None and reference.digest is None:
            self.store.tag(image.id, reference, origin)
        emit({"status": f"Digest: {digest}"})
        news = "Image is up to date" if before == image.id else "Downloaded newer image"
        emit({"status": f"Status: {news} for {reference.familiar}"})
        return self.store.get(image.id)


async def _stop(pipe: Pipe, work: asyncio.Task[None], error: Exception) -> None:
    """End the unpacking thread and wait for it: it must not write after the failure is told."""
    pipe.fail(error)
    await asyncio.gather(work, return_exceptions=True)


def _in_known_words(error: WherryError, reference: Reference, known_account: bool) -> WherryError:
    """Refusals in the words that clients look for."""
    text = str(error)
    if isinstance(error, NotFound) and "manifest unknown" in text:
        return manifest_unknown(reference.familiar)
    if isinstance(error, NotFound) and "name unknown" in text:
        return pull_denied(reference.familiar_name)
    if isinstance(error, Unauthorized) and not known_account:
        return pull_denied(reference.familiar_name)
    return error
