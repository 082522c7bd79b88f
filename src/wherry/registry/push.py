"""Pushing an image: what the registry has is not sent again.

A layer that came from a registry is known by its compressed digest; one made here is compressed
into a temporary file, reproducibly, so that a repeated push finds it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from isal import isal_zlib

from wherry.errors import Forbidden, InvalidParameter, NotFound, Unauthorized, WherryError
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.mediatypes import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_LAYER
from wherry.registry.credentials import ANONYMOUS, Credentials
from wherry.registry.failures import push_denied
from wherry.registry.hosts import RegistryOptions
from wherry.registry.repository import Repository
from wherry.registry.session import open_sessions
from wherry.registry.transfer import PUSH_PREFIX, Emit, LayerBlob, LayerBlobs, Meter
from wherry.registry.upload import upload

DEFAULT_PARALLEL_LAYERS = 5
_GZIP_LEVEL = 2
_GZIP_WINDOW = 31  # zlib.compressobj: 15 bits, with a gzip header that has no time


@dataclass(frozen=True, slots=True)
class Pusher:
    """What pushes need of an engine; ``folder`` holds compressed layers for the time of a push."""

    store: ImageStore
    known: LayerBlobs
    folder: str
    options: RegistryOptions
    parallel: int = DEFAULT_PARALLEL_LAYERS

    async def push(
        self, reference: Reference, emit: Emit, *, credentials: Credentials = ANONYMOUS
    ) -> str:
        """Send the image of a tag; returns the manifest's digest.

        Raises NotFound when there is no such image, Unauthorized and Forbidden as the registry
        says, Unavailable for a line that stays dead.
        """
        if reference.tag is None:
            raise InvalidParameter(f"push {reference}: a tag is needed")
        emit({"status": f"The push refers to repository [{reference.name}]"})
        image = self._image(reference)
        sessions = open_sessions(reference.domain, self.options, credentials, push=True)
        async with contextlib.aclosing(sessions):
            async for session in sessions:
                repository = Repository(session, reference.path, push=True)
                try:
                    return await self._push(repository, reference, image, emit)
                except (Unauthorized, Forbidden) as error:
                    raise push_denied(error) from error
        raise WherryError(f"push {reference}: no registry answers")

    def _image(self, reference: Reference) -> Image:
        image_id = self.store.pointed(reference)
        if image_id is not None:
            return self.store.get(image_id)
        if self.store.tags_of(reference):
            raise NotFound(f"tag does not exist: {reference.familiar}")
        raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")

    async def _push(
        self, repository: Repository, reference: Reference, image: Image, emit: Emit
    ) -> str:
        turns = asyncio.Semaphore(self.parallel)
        layers = dict.fromkeys(image.layers)

        async def one(diff_id: str) -> LayerBlob:
            meter = Meter(emit, diff_id.partition(":")[2][:12])
            meter.say("Preparing")
            async with turns:
                return await self._layer(repository, reference, diff_id, meter)

        tasks = [asyncio.create_task(one(diff_id)) for diff_id in layers]
        try:
            blobs = dict(zip(layers, await asyncio.gather(*tasks), strict=True))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        config = self.store.blobs.read(image.id)
        await upload(repository, image.id, lambda: io.BytesIO(config))
        manifest = document(image.id, len(config), [blobs[layer] for layer in image.layers])
        assert reference.tag is not None
        digest = await repository.put_manifest(reference.tag, DOCKER_MANIFEST, manifest)
        named = Reference(reference.domain, reference.path, digest=digest)
        self.store.tag(image.id, named, f"push {reference.name}")
        emit({"status": f"{reference.tag}: digest: {digest} size: {len(manifest)}"})
        aux = {"Tag": reference.tag, "Digest": digest, "Size": len(manifest)}
        emit({"progressDetail": {}, "aux": aux})
        return digest

    async def _layer(
        self, repository: Repository, reference: Reference, diff_id: str, meter: Meter
    ) -> LayerBlob:
        for blob in self.known.of(diff_id, reference.domain):
            if blob.path == reference.path:
                if await repository.has_blob(blob.digest):
                    meter.say("Layer already exists")
                    return blob
            elif await _mount(repository, blob):
                meter.say(f"Mounted from {blob.path}")
                return self._noted(blob, reference)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=PUSH_PREFIX) as file:
            digest, size = await asyncio.to_thread(self._compress, diff_id, file.name)
            answer = await upload(
                repository,
                digest,
                partial(_open, file.name),
                progress=lambda held: meter.at("Pushing", held, size),
            )
        meter.say("Layer already exists" if answer == "exists" else "Pushed")
        fresh = LayerBlob(
            diff_id, digest, size, DOCKER_LAYER_GZIP, reference.domain, reference.path
        )
        return self._noted(fresh, reference)

    def _noted(self, blob: LayerBlob, reference: Reference) -> LayerBlob:
        here = LayerBlob(
            blob.diff_id,
            blob.digest,
            blob.size,
            blob.media_type,
            reference.domain,
            reference.path,
        )
        self.known.note(here)
        return here

    def _compress(self, diff_id: str, path: str) -> tuple[str, int]:
        """Write the layer as gzip without a time, so that equal layers give equal blobs."""
        digest = hashlib.sha256()
        squeezer = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
        with open(path, "wb") as file:
            for piece in self.store.layers.tar(diff_id):
                squeezed = squeezer.compress(piece)
                digest.update(squeezed)
                file.write(squeezed)
            squeezed = squeezer.flush()
            digest.update(squeezed)
            file.write(squeezed)
        return f"sha256:{digest.hexdigest()}", os.path.getsize(path)


async def _mount(repository: Repository, blob: LayerBlob) -> bool:
    """Try to take a blob over from another repository of the registry."""
    try:
        return await repository.mount_blob(blob.digest, blob.path) is None
    except WherryError:
        return False


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def document(config: str, config_size: int, layers: list[LayerBlob]) -> bytes:
    """The manifest of an image (Docker's schema 2, with the types that its layers have)."""
    value = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": config_size, "digest": config},
        "layers": [
            {"mediaType": _docker_type(layer), "size": layer.size, "digest": layer.digest}
            for layer in layers
        ],
    }
    return json.dumps(value, indent=3).encode()


def _docker_type(layer: LayerBlob) -> str:
    """Schema 2 knows gzip only by its own name; other forms keep the name they came with."""
    if layer.media_type.startswith(OCI_LAYER) and layer.media_type.endswith("+gzip"):
        return DOCKER_LAYER_GZIP
    return layer.media_type or DOCKER_LAYER_GZIP
