"""Several layer directories seen as one tree, as overlayfs would show them, without mounting.

Layers never change and only the engine can write there, so their directories are named by path;
a path may be longer than the kernel takes (see `wherry.fs.opening`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from wherry.fs.opening import DIRECTORY, open_path, within_reach
from wherry.storage.archive.extract import OPAQUE_XATTR

Stack = tuple[str, ...]
"""The host paths that make one merged file: a single one, or a directory's from the top down."""


def is_whiteout(found: os.stat_result) -> bool:
    """Whether a file of a layer directory stands for a removed name."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(directory: int | str) -> bool:
    """Whether a directory of a layer (open, or a short path) hides the directories below it."""
    try:
        if isinstance(directory, int):
            return os.getxattr(directory, OPAQUE_XATTR) == b"y"
        return os.getxattr(directory, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def status(path: str) -> os.stat_result:
    """lstat(2) of a file of a layer."""
    with within_reach(path) as near:
        return os.lstat(near)


def children(stack: Sequence[str]) -> dict[str, Stack]:
    """What a merged directory holds, by name; ``stack`` runs from the top down."""
    found: dict[str, Stack] = {}
    closed: set[str] = set()
    for path in stack:
        directory = open_path(path, DIRECTORY)
        try:
            _add_children(directory, path, found, closed)
            if is_opaque(directory):
                break
        finally:
            os.close(directory)
    return found


def _add_children(directory: int, path: str, found: dict[str, Stack], closed: set[str]) -> None:
    """Add what one layer has; ``closed`` are the names that the layers above hide."""
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name in closed:
                continue
            if entry.is_dir(follow_symlinks=False):
                found[name] = (*found.get(name, ()), f"{path}/{name}")
                if is_opaque(f"/proc/self/fd/{directory}/{name}"):
                    closed.add(name)
                continue
            closed.add(name)
            if name not in found and not is_whiteout(entry.stat(follow_symlinks=False)):
                found[name] = (f"{path}/{name}",)


def walk(stack: Sequence[str]) -> Iterator[tuple[str, Stack]]:
    """All merged paths below ``stack``, relative, sorted, parents first."""
    pending = [_sorted_children("", stack)]
    while pending:
        step = next(pending[-1], None)
        if step is None:
            pending.pop()
            continue
        path, inner = step
        yield step
        if stat.S_ISDIR(status(inner[0]).st_mode):
            pending.append(_sorted_children(path + "/", inner))


def _sorted_children(prefix: str, stack: Sequence[str]) -> Iterator[tuple[str, Stack]]:
    return iter([(prefix + name, inner) for name, inner in sorted(children(stack).items())])
