"""``docker save``: images as one archive, byte-identical layers and configs, so ids survive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wherry.images import reference as references
from wherry.images.archive import ArchivedImage, archive
from wherry.images.platforms import Platform
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore

Chosen = dict[str, tuple[Image, list[Reference]]]
"""Images by id, each with the names that the archive gives it."""


def save(
    store: ImageStore, names: Sequence[str], platform: Platform | None = None
) -> Iterator[bytes]:
    """The archive of the named images; NotFound before the first byte when one is missing."""
    return pack(store, choose(store, names, platform))


def choose(store: ImageStore, names: Sequence[str], platform: Platform | None = None) -> Chosen:
    """The named images; raises NotFound.

    A repository without a tag stands for all its tags, an id for the image without names.
    """
    chosen: Chosen = {}
    for name in names:
        for image, tags in _chosen(store, name, platform):
            found = chosen.setdefault(image.id, (image, []))[1]
            found += [tag for tag in tags if tag not in found]
    return chosen


def pack(store: ImageStore, chosen: Chosen) -> Iterator[bytes]:
    """The archive of images."""
    images = [
        ArchivedImage(
            store.blobs.read(image.id),
            tuple((layer, store.layers.get(layer).tar_size) for layer in image.layers),
            tuple(tags),
        )
        for image, tags in chosen.values()
    ]
    return archive(images, store.layers.tar)


def _chosen(
    store: ImageStore, name: str, platform: Platform | None
) -> Iterator[tuple[Image, list[Reference]]]:
    image_id = store.by_id(name)
    if image_id is not None:
        yield store.resolve(image_id, platform), []
        return
    reference = references.parse(name)
    if reference.tag is None and reference.digest is None:
        tagged = store.tags_of(reference)
        if tagged:
            for tag in tagged:
                yield store.resolve(tag.familiar, platform), [tag]
            return
    yield store.resolve(name, platform), [reference.tagged()] if not reference.digest else []
