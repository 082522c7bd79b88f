"""``docker load``: docker-archive and OCI-layout tars, or both in one, compressed or not.

The archive is read once, in order, and layers are extracted meanwhile (`wherry.images.incoming`);
then the manifests tell what they are: layers are registered, configs stored, tags set.
Nothing of the archive is trusted before its digest was checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from wherry.errors import InvalidParameter, NotFound
from wherry.images import config as configs
from wherry.images import manifest as manifests
from wherry.images import reference as references
from wherry.images.incoming import Incoming, Progress, blob_name, check_digest
from wherry.images.manifest import Descriptor, Index, Manifest
from wherry.images.platforms import Platform, this_platform
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.mediatypes import CONFIGS
from wherry.storage.archive.stream import Readable

_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class _Found:
    """An image that an archive offers; ``layers`` are paths in the archive, base first."""

    config: str
    layers: tuple[str, ...]
    names: tuple[Reference, ...]


def load(
    store: ImageStore,
    stream: Readable,
    progress: Progress,
    *,
    quiet: bool = False,
    platform: Platform | None = None,
) -> list[Image]:
    """Load all images of an archive; ``progress`` gets what ``docker load`` prints.

    With ``platform`` only the images for it. Raises InvalidParameter for an archive that is damaged
    or no image archive, and NotFound when it has nothing for the platform.
    """
    with (
        store.layers.lease() as protect,
        Incoming(store.layers, protect, None if quiet else progress) as archive,
    ):
        archive.read(stream)
        found = list(_images(archive, platform))
        if platform is not None:
            chosen = [image for image in found if _is_for(archive, image, platform)]
            if found and not chosen:
                raise NotFound(f"the archive has no image for platform {platform}")
            found = chosen
        return [_load_image(store, archive, image, progress) for image in found]


def _images(archive: Incoming, platform: Platform | None) -> list[_Found]:
    """What the archive offers; manifest.json is preferred, as it carries the full tags."""
    listing = archive.data("manifest.json")
    if listing is not None:
        return list(_docker_images(listing))
    index = archive.data("index.json")
    if index is not None:
        parsed = manifests.parse(index)
        if not isinstance(parsed, Index):
            raise InvalidParameter("invalid image archive: index.json is not an index")
        return list(_oci_images(archive, parsed, platform, ()))
    raise InvalidParameter(
        "invalid archive: it has neither a manifest.json nor an index.json; to make an image of"
        " a root file system use import"
    )


def _docker_images(listing: bytes) -> Iterator[_Found]:
    try:
        items = json.loads(listing)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"invalid manifest.json: {error}") from None
    if not isinstance(items, list):
        raise InvalidParameter("invalid manifest.json: not a list")
    for item in items:
        config = item.get("Config") if isinstance(item, dict) else None
        layers = (item.get("Layers") or []) if isinstance(item, dict) else None
        tags = (item.get("RepoTags") or []) if isinstance(item, dict) else None
        if not isinstance(config, str) or not _strings(layers) or not _strings(tags):
            raise InvalidParameter("invalid manifest.json: an image is malformed")
        assert layers is not None and tags is not None
        yield _Found(config, tuple(layers), tuple(references.parse(tag).tagged() for tag in tags))


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _oci_images(
    archive: Incoming, index: Index, platform: Platform | None, names: tuple[Reference, ...]
) -> Iterator[_Found]:
    wanted = platform or this_platform()
    for descriptor in index.manifests:
        named = names or _annotated(descriptor)
        data = archive.blob(descriptor)
        if data is None:
            continue  # a layout may list more than it holds
        parsed = manifests.parse(data, descriptor.media_type)
        if isinstance(parsed, Index):
            chosen = manifests.choose(parsed, wanted, "the archive")
            yield from _oci_images(archive, Index(parsed.media_type, (chosen,)), platform, named)
            continue
        if not _is_image(parsed):
            continue
        yield _Found(
            blob_name(parsed.config.digest),
            tuple(blob_name(layer.digest) for layer in parsed.layers),
            named,
        )


def _is_image(manifest: Manifest) -> bool:
    """Whether it is an image and not an attestation or another artifact."""
    return manifest.config.media_type in CONFIGS


def _annotated(descriptor: Descriptor) -> tuple[Reference, ...]:
    """The name in a descriptor's annotations; a tag alone names nothing."""
    name = descriptor.annotations.get(_IMAGE_NAME) or descriptor.annotations.get(_REF_NAME, "")
    if not name or (":" not in name and "/" not in name):
        return ()
    try:
        return (references.parse(name).tagged(),)
    except InvalidParameter:
        return ()


def _is_for(archive: Incoming, found: _Found, platform: Platform) -> bool:
    config = archive.data(found.config)
    if config is None:
        return True  # loading it will tell what is missing
    parsed = configs.parse(config)
    return platform.accepts(Platform(parsed.os, parsed.architecture, parsed.variant))


def _load_image(store: ImageStore, archive: Incoming, found: _Found, progress: Progress) -> Image:
    config = archive.data(found.config)
    if config is None:
        raise InvalidParameter(f"invalid image archive: config {found.config} is missing")
    _check_named_digest(found.config, config)
    parsed = configs.parse(config)
    if len(parsed.diff_ids) != len(found.layers):
        raise InvalidParameter(
            f"invalid image archive: the config names {len(parsed.diff_ids)} layers,"
            f" the manifest {len(found.layers)}"
        )
    for diff_id, name in zip(parsed.diff_ids, found.layers, strict=True):
        archive.store_layer(name, diff_id)
    image = store.create(config)
    for tag in found.names:
        before = store.tag(image.id, tag, "load")
        if before is not None and before != image.id:
            progress(
                {
                    "stream": f"The image {tag.familiar} already exists, renaming the old one"
                    f" with ID {before} to empty string\n"
                }
            )
        progress({"stream": f"Loaded image: {tag.familiar}\n"})
    if not found.names:
        progress({"stream": f"Loaded image ID: {image.id}\n"})
    return store.get(image.id)


def _check_named_digest(name: str, data: bytes) -> None:
    """A config whose file name is a digest must have that digest."""
    base = os.path.basename(name).removesuffix(".json")
    if references.is_digest(f"sha256:{base}"):
        check_digest(data, f"sha256:{base}")
