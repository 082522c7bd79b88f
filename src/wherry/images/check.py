"""``wherry system check``: every blob, layer, image and name is looked at and verified again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from wherry.errors import WherryError
from wherry.images.store import ImageStore
from wherry.storage.blobs import split_digest


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be: what kind of object, which, and why."""

    kind: str
    object: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result: how many objects were verified, what is wrong, and what is merely left over.

    ``garbage`` needs no action: the next start or prune removes it.
    """

    blobs: int
    layers: int
    images: int
    names: int
    problems: tuple[Problem, ...]
    garbage: tuple[str, ...]

    def view(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "Blobs": self.blobs,
            "Layers": self.layers,
            "Images": self.images,
            "Names": self.names,
            "Problems": [
                {"Kind": item.kind, "Object": item.object, "Message": item.message}
                for item in self.problems
            ],
            "Garbage": list(self.garbage),
        }


def check(store: ImageStore, tell: Callable[[int, int], None] = lambda *_: None) -> Report:
    """Verify the whole store; changes nothing. ``tell`` hears how many bytes of how many are done.

    Every byte is read again: blobs against their digests, each layer's files by making its
    stream again and comparing that with its diff id.
    """
    problems: list[Problem] = []
    blobs = list(store.blobs.walk())
    layers = store.layers.all()
    total, done = sum(layer.tar_size for layer in layers), 0

    def verified(size: int) -> None:
        nonlocal done
        done += size
        tell(done, total)

    for digest in blobs:  # configs: too small to count
        problems += _blob(store, digest)
    for layer in layers:
        problems += _layer(store, layer.diff_id, layer.tar_size, verified)
    image_ids = [row["id"] for row in store.db.query("SELECT id FROM images ORDER BY id")]
    for image_id in image_ids:
        problems += _image(store, image_id)
    names = store.db.query("SELECT name, value, image FROM image_names")
    known = set(image_ids)
    for row in names:
        if row["image"] not in known:
            name = f"{row['name']}:{row['value']}"
            problems.append(Problem("name", name, f"points at missing image {row['image']}"))
    return Report(
        len(blobs),
        len(layers),
        len(image_ids),
        len(names),
        tuple(problems),
        tuple(_garbage(store, blobs, known)),
    )


def _blob(store: ImageStore, digest: str) -> Iterator[Problem]:
    algorithm, value = split_digest(digest)
    try:
        with store.blobs.open(digest) as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()  # type: ignore[arg-type]
    except (OSError, WherryError) as error:
        yield Problem("blob", digest, str(error))
        return
    if found != value:
        yield Problem("blob", digest, f"its content has digest {algorithm}:{found}")


def _layer(
    store: ImageStore, diff_id: str, size: int, verified: Callable[[int], None]
) -> Iterator[Problem]:
    length = 0
    try:
        for piece in store.layers.tar(diff_id):
            length += len(piece)
            verified(len(piece))
    except (OSError, WherryError) as error:
        yield Problem("layer", diff_id, str(error))
        return
    if length != size:
        yield Problem("layer", diff_id, f"its stream has {length} bytes, recorded are {size}")


def _image(store: ImageStore, image_id: str) -> Iterator[Problem]:
    try:
        config = store.read_config(image_id)
    except (OSError, WherryError) as error:
        yield Problem("image", image_id, f"config: {error}")
        return
    held = store.layers.held(f"image:{image_id}")
    for diff_id in config.diff_ids:
        if not store.layers.has(diff_id):
            yield Problem("image", image_id, f"layer {diff_id} is missing")
        elif diff_id not in held:
            yield Problem("image", image_id, f"layer {diff_id} is not held for it")


def _garbage(store: ImageStore, blobs: list[str], images: set[str]) -> Iterator[str]:
    for digest in blobs:
        if digest not in images:
            yield f"blob {digest}"
    for diff_id in store.layers.unheld():
        yield f"layer {diff_id}"
    registered = {os.path.dirname(store.layers.path(item.diff_id)) for item in store.layers.all()}
    for name in sorted(os.listdir(store.layers.directory)):
        path = os.path.join(store.layers.directory, name)
        if path not in registered:
            yield f"directory {path}"
