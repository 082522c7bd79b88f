"""What differs between two images, and what each layer of an image brings."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wherry.fs.opening import within_reach
from wherry.images.store import Image, ImageStore
from wherry.storage import merged
from wherry.storage.merged import Stack


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file added (A), changed (C) or deleted (D).

    ``before`` and ``after`` are sizes in bytes (0 for what is no regular file); ``layer`` is the
    diff id of the layer that brings the file, "" for a deleted one.
    """

    kind: Literal["A", "C", "D"]
    path: str
    before: int
    after: int
    layer: str

    def view(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "Kind": self.kind,
            "Path": self.path,
            "SizeBefore": self.before,
            "SizeAfter": self.after,
            "Layer": self.layer,
        }


def diff_images(
    store: ImageStore, old: Image, new: Image, *, content: bool = False
) -> Iterator[FileChange]:
    """The files that differ, sorted by path.

    Files differ when type, mode, owner, size, device, link target or modification time do; with
    ``content`` times are ignored and the bytes are compared.
    """
    layers = {store.layers.path(layer): layer for layer in (*old.layers, *new.layers)}
    yield from _compare(_stack(store, old), _stack(store, new), "/", layers, content)


def _stack(store: ImageStore, image: Image) -> Stack:
    return tuple(store.layers.path(layer) for layer in reversed(image.layers))


def _compare(
    old: Stack, new: Stack, path: str, layers: Mapping[str, str], content: bool
) -> Iterator[FileChange]:
    pending = [_steps(old, new, path, layers, content)]
    while pending:
        step = next(pending[-1], None)
        if step is None:
            pending.pop()
            continue
        change, one, other, full = step
        if change is not None:
            yield change
        pending.append(_steps(one, other, full + "/", layers, content))


def _steps(
    old: Stack, new: Stack, path: str, layers: Mapping[str, str], content: bool
) -> Iterator[tuple[FileChange | None, Stack, Stack, str]]:
    """For each name that is not the same: the change, what is below it, and its path."""
    if old == new:
        return  # the same directories of the same layers
    before = merged.children(old) if old else {}
    after = merged.children(new) if new else {}
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name, ()), after.get(name, ())
        if one == other:
            continue
        full = path + name
        then = merged.status(one[0]) if one else None
        now = merged.status(other[0]) if other else None
        kind: Literal["A", "C", "D"] = "C" if then and now else ("A" if now else "D")
        change = None
        if not then or not now or _differs(then, now, one[0], other[0], content):
            layer = _layer_of(other[0], layers) if other else ""
            change = FileChange(kind, full, _size(then), _size(now), layer)
        one = one if then and stat.S_ISDIR(then.st_mode) else ()
        other = other if now and stat.S_ISDIR(now.st_mode) else ()
        yield change, one, other, full


def _size(found: os.stat_result | None) -> int:
    return found.st_size if found and stat.S_ISREG(found.st_mode) else 0


def _differs(then: os.stat_result, now: os.stat_result, old: str, new: str, content: bool) -> bool:
    if (then.st_mode, then.st_uid, then.st_gid, then.st_rdev) != (
        now.st_mode, now.st_uid, now.st_gid, now.st_rdev,
    ):  # fmt: skip
        return True
    if stat.S_ISLNK(now.st_mode):
        with within_reach(old) as one, within_reach(new) as other:
            return os.readlink(one) != os.readlink(other)
    if not stat.S_ISREG(now.st_mode):
        return False
    if then.st_size != now.st_size:
        return True
    if content:
        with within_reach(old) as one, within_reach(new) as other:
            return not filecmp.cmp(one, other, shallow=False)
    return then.st_mtime_ns != now.st_mtime_ns


def _layer_of(path: str, layers: Mapping[str, str]) -> str:
    while path != "/":
        if path in layers:
            return layers[path]
        path = os.path.dirname(path)
    return ""


def layer_files(store: ImageStore, image: Image, layer: str) -> Iterator[FileChange]:
    """What ``layer`` of ``image`` adds, changes and deletes against the layers below it."""
    position = image.layers.index(layer)
    below = tuple(store.layers.path(item) for item in reversed(image.layers[:position]))
    top = store.layers.path(layer)
    yield from _compare(below, (top, *below), "/", {top: layer}, content=False)
