"""Several layer directories seen as one tree, as overlayfs would show them, without mounting."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from wherry.storage.archive.extract import OPAQUE_XATTR

Stack = tuple[str, ...]
"""The host paths that make one merged file: a single one, or a directory's from the top down."""


def is_whiteout(found: os.stat_result) -> bool:
    """Whether a file of a layer directory stands for a removed name."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(directory: str) -> bool:
    """Whether a directory of a layer hides the directories below it."""
    try:
        return os.getxattr(directory, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def children(stack: Sequence[str]) -> dict[str, Stack]:
    """What a merged directory holds, by name; ``stack`` runs from the top down."""
    found: dict[str, Stack] = {}
    closed: set[str] = set()
    for directory in stack:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name in closed:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found[name] = (*found.get(name, ()), entry.path)
                    if is_opaque(entry.path):
                        closed.add(name)
                    continue
                closed.add(name)
                if name not in found and not is_whiteout(entry.stat(follow_symlinks=False)):
                    found[name] = (entry.path,)
        if is_opaque(directory):
            break
    return found


def walk(stack: Sequence[str], prefix: str = "") -> Iterator[tuple[str, Stack]]:
    """All merged paths below ``stack``, relative, sorted, parents first."""
    for name, inner in sorted(children(stack).items()):
        path = f"{prefix}{name}"
        yield path, inner
        if os.path.isdir(inner[0]) and not os.path.islink(inner[0]):
            yield from walk(inner, path + "/")
