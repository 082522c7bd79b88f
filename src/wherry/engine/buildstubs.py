"""Mount points that a RUN leaves behind: empty files and directories nobody asked for.

The runtime makes what it mounts on. What was not in the image before and is still an empty
mount point afterwards is taken out of the layer again; no link is ever followed for that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from wherry.build.trees import Tree, resolve

_ALWAYS = ("proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Stubs:
    """Paths that do not exist before a RUN and may have to be made for its mounts."""

    paths: tuple[str, ...]

    @classmethod
    def before(cls, tree: Tree, targets: Iterable[str]) -> Stubs:
        """What the mounts on ``targets`` may leave in ``tree``; deepest paths first."""
        missing: set[str] = set()
        for target in (*_ALWAYS, *(target.strip("/") for target in targets)):
            reached = resolve(tree, target, missing=True)
            parts = (reached or target).split("/")
            for count in range(len(parts), 0, -1):
                path = "/".join(parts[:count])
                if tree.entry(path) is not None:
                    break
                missing.add(path)
        return cls(tuple(sorted(missing, key=lambda path: -path.count("/"))))

    def remove(self, root: str) -> None:
        """Take those that are empty out of the directory ``root``."""
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for path in self.paths:
                with suppress(OSError):
                    _remove(top, path.split("/"))
        finally:
            os.close(top)


def _remove(top: int, parts: list[str]) -> None:
    """Remove an empty file or directory; raises OSError for anything else on the way."""
    directory = os.dup(top)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        found = os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(parts[-1], dir_fd=directory)
        elif stat.S_ISREG(found.st_mode) and found.st_size == 0:
            os.unlink(parts[-1], dir_fd=directory)
    finally:
        os.close(directory)
