"""``docker load``: docker-archive and OCI-layout tars, or both in one, compressed or not.

The archive is read once, in order. Files that can be blobs are kept in a temporary directory
until the manifests tell what they are; then layers are extracted, configs stored, tags set.
Nothing of the archive is trusted before its digest was checked.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from wherry.errors import InvalidParameter, KernelError
from wherry.images import config as configs
from wherry.images import manifest as manifests
from wherry.images import reference as references
from wherry.images.manifest import Descriptor, Index, Manifest, Platform
from wherry.images.reference import Reference
from wherry.images.store import Image, ImageStore
from wherry.storage.archive import header
from wherry.storage.archive.compression import decompressed
from wherry.storage.archive.extract import clean
from wherry.storage.archive.reader import TarReader
from wherry.storage.archive.stream import ByteStream, Readable, ReadAhead

Progress = Callable[[dict[str, Any]], None]
"""Called with messages in the form of the API's progress streams."""

_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_PROGRESS_STEP = 1 << 20


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

    Raises InvalidParameter for an archive that is damaged or no image archive.
    """
    with tempfile.TemporaryDirectory(prefix=".load-", dir=store.layers.directory) as spool:
        archive = _Archive(spool)
        archive.read(stream)
        found = _images(archive, platform)
        with store.layers.lease() as protect:
            return [_load_image(store, archive, image, protect, progress, quiet) for image in found]


class _Archive:
    """The files of an archive, spooled by path; links are resolved by name."""

    def __init__(self, spool: str) -> None:
        self._spool = spool
        self._files: dict[str, str] = {}
        self._links: dict[str, str] = {}

    def read(self, stream: Readable) -> None:
        with ReadAhead(decompressed(stream, "image archive")) as ahead:
            reader = TarReader(ByteStream(ahead, "image archive"))
            for entry in reader:
                path = os.fsdecode(b"/".join(clean(entry.name)))
                if entry.kind == header.REGULAR:
                    self._files[path] = self._keep(reader)
                    self._links.pop(path, None)
                elif entry.kind in (header.SYMLINK, header.HARD_LINK):
                    base = os.path.dirname(path) if entry.kind == header.SYMLINK else ""
                    target = os.fsencode(os.path.join(base, os.fsdecode(entry.link)))
                    self._links[path] = os.fsdecode(b"/".join(clean(target, entry.name)))
                    self._files.pop(path, None)
            reader.drain()

    def _keep(self, reader: TarReader) -> str:
        path = os.path.join(self._spool, str(len(self._files) + len(self._links)))
        try:
            with open(path, "wb") as file:
                for offset, piece in reader.content():
                    if offset != file.tell():
                        file.seek(offset)
                    file.write(piece)
        except OSError as error:
            raise KernelError("write image archive", path, error.errno or 5) from error
        return path

    def path(self, name: str) -> str | None:
        """The spooled file for a name in the archive."""
        for _ in range(8):
            if name not in self._links:
                break
            name = self._links[name]
        return self._files.get(name)

    def data(self, name: str) -> bytes | None:
        """A small file in whole."""
        path = self.path(name)
        if path is None:
            return None
        if os.path.getsize(path) > configs.SIZE_LIMIT:
            raise InvalidParameter(f"invalid image archive: {name} is too large")
        with open(path, "rb") as file:
            return file.read()

    def blob(self, descriptor: Descriptor) -> bytes | None:
        """A small blob by descriptor, its digest and size checked; None when it is not there."""
        data = self.data(blob_name(descriptor.digest))
        if data is not None:
            _check_digest(data, descriptor.digest)
            if len(data) != descriptor.size:
                raise InvalidParameter(f"blob {descriptor.digest} has a wrong size")
        return data


def blob_name(digest: str) -> str:
    """Where a blob lies in an OCI image layout."""
    return f"blobs/{digest.replace(':', '/', 1)}"


def _check_digest(data: bytes, digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    if hashlib.new(algorithm, data).hexdigest() != value:
        raise InvalidParameter(f"blob {digest} is damaged: its content has another digest")


def _images(archive: _Archive, platform: Platform | None) -> list[_Found]:
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
    archive: _Archive, index: Index, platform: Platform | None, names: tuple[Reference, ...]
) -> Iterator[_Found]:
    wanted = platform or manifests.this_platform()
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
    return manifest.config.media_type in manifests.CONFIGS


def _annotated(descriptor: Descriptor) -> tuple[Reference, ...]:
    """The name in a descriptor's annotations; a tag alone names nothing."""
    name = descriptor.annotations.get(_IMAGE_NAME) or descriptor.annotations.get(_REF_NAME, "")
    if not name or (":" not in name and "/" not in name):
        return ()
    try:
        return (references.parse(name).tagged(),)
    except InvalidParameter:
        return ()


def _load_image(
    store: ImageStore,
    archive: _Archive,
    found: _Found,
    protect: Callable[[str], None],
    progress: Progress,
    quiet: bool,
) -> Image:
    config = archive.data(clean_name(found.config))
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
        protect(diff_id)
        if store.layers.has(diff_id):
            continue
        path = archive.path(clean_name(name))
        if path is None:
            raise InvalidParameter(f"invalid image archive: layer {name} is missing")
        with open(path, "rb") as file:
            source: Readable = file
            if not quiet:
                source = _Reported(file, os.path.getsize(path), diff_id[7:19], progress)
            store.layers.add(decompressed(source, f"layer {name}"), diff_id)
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


def clean_name(name: str) -> str:
    """A path of manifest.json in the form in which the archive's files are kept."""
    return os.fsdecode(b"/".join(clean(os.fsencode(name))))


def _check_named_digest(name: str, data: bytes) -> None:
    """A config whose file name is a digest must have that digest."""
    base = os.path.basename(name).removesuffix(".json")
    if references.is_digest(f"sha256:{base}"):
        _check_digest(data, f"sha256:{base}")


class _Reported:
    """A source of bytes that tells how much of it was read."""

    def __init__(self, source: Readable, total: int, key: str, progress: Progress) -> None:
        self._source = source
        self._total = total
        self._key = key
        self._progress = progress
        self._current = 0
        self._told = -_PROGRESS_STEP

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._current += len(data)
        if self._current - self._told >= _PROGRESS_STEP or (
            not data and self._told != self._current
        ):
            self._told = self._current
            self._progress(
                {
                    "status": "Loading layer",
                    "progressDetail": {"current": self._current, "total": self._total},
                    "id": self._key,
                }
            )
        return data
