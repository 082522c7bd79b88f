"""Mount points that a RUN leaves behind: empty files and directories nobody asked for.

The runtime makes what it mounts on. What was not in the image before and is still an empty
mount point afterwards is taken out of the layer again, and a directory that is in the layer for
nothing else goes, too; no link is ever followed for that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from wherry.builder.trees import Entry, Tree, resolve
from wherry.storage.merged import is_opaque, is_whiteout

_COPY_MARKS = (".overlay.origin", ".overlay.impure", ".overlay.uuid")
_ALWAYS = ("proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Stubs:
    """What mounts may leave behind; deepest paths first.

    ``paths`` do not exist before a RUN and may have to be made. ``above`` are directories that
    do: as they were, with the names in them.
    """

    paths: tuple[str, ...]
    above: tuple[tuple[str, Entry, frozenset[str]], ...] = ()

    @classmethod
    def before(cls, tree: Tree, targets: Iterable[str]) -> Stubs:
        """What the mounts on ``targets`` may leave in ``tree``."""
        missing: set[str] = set()
        above: dict[str, Entry] = {}
        for target in (*_ALWAYS, *(target.strip("/") for target in targets)):
            reached = resolve(tree, target, missing=True)
            parts = (reached or target).split("/")
            for count in range(len(parts), 0, -1):
                path = "/".join(parts[:count])
                entry = tree.entry(path)
                if entry is None:
                    missing.add(path)
                elif path not in missing and entry.is_directory and count < len(parts):
                    above[path] = entry
        return cls(
            tuple(sorted(missing, key=_depth)),
            tuple(
                (path, above[path], frozenset(tree.children(path)))
                for path in sorted(above, key=_depth)
            ),
        )

    def remove(self, root: str, *, copy: bool = False) -> None:
        """Take what is of no use out of ``root``: a layer, or a ``copy`` of everything."""
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for path in self.paths:
                with suppress(OSError):
                    _remove(top, path)
            for path, entry, names in self.above:
                with suppress(OSError):  # not empty
                    if not copy and _only_copied_up(top, path, entry):
                        _remove(top, path)
                with suppress(OSError):  # not there
                    _restore_time(top, path, entry, names, copy=copy)
        finally:
            os.close(top)


def _depth(path: str) -> int:
    return -path.count("/")


def _remove(top: int, path: str) -> None:
    """Remove an empty file or directory; raises OSError for anything else on the way."""
    with _parent(top, path) as (directory, name):
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=directory)
        elif stat.S_ISREG(found.st_mode) and found.st_size == 0:
            os.unlink(name, dir_fd=directory)


@contextmanager
def _parent(top: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory that holds ``path``, opened, and the name in it."""
    *parts, name = path.split("/")
    directory = os.dup(top)
    try:
        for part in parts:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield directory, name
    finally:
        os.close(directory)


def _only_copied_up(top: int, path: str, before: Entry) -> bool:
    """Whether a directory of a layer differs from the one below it in its time at most."""
    with _parent(top, path) as (directory, name):
        found = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        status = os.fstat(found)
        names = {name for name in os.listxattr(found) if not name.endswith(_COPY_MARKS)}
    finally:
        os.close(found)
    as_before = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return as_before == (before.mode, before.uid, before.gid) and names == set(before.xattrs)


def _restore_time(top: int, path: str, before: Entry, names: frozenset[str], *, copy: bool) -> None:
    """Undo the change of time of a directory that shows the same names as before."""
    with _parent(top, path) as (directory, name):
        found = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        held = os.listdir(found)
        if copy:
            same = names == set(held)
        else:  # what is not held shows through from below, unless something hides it
            same = names >= set(held) and not any(_hides(found, name) for name in ("", *held))
        if same:
            os.utime(found, ns=(before.mtime, before.mtime))
    finally:
        os.close(found)


def _hides(directory: int, name: str) -> bool:
    """Whether the layer hides what is below: an opaque directory (""), or a removed name."""
    if name:
        return is_whiteout(os.stat(name, dir_fd=directory, follow_symlinks=False))
    return is_opaque(directory)
