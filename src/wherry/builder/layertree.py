"""The files of a stack of layers as one tree, read from the layers' directories.

Nothing is mounted and no link is followed by the kernel: each step goes from a directory known to
be one to a name in it.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence

from wherry.builder.trees import Entry, Kind, TreeError, content_digest
from wherry.fs.opening import open_path, within_reach
from wherry.storage.merged import Stack, children, is_opaque, is_whiteout, status

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFIFO: Kind.FIFO,
}


class LayerTree:
    """See `trees.Tree`; ``directories`` runs from the base up."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._stacks: dict[str, Stack | None] = {"": tuple(reversed(directories))}
        self._digests: dict[str, str] = {}

    def _stack(self, path: str) -> Stack | None:
        missing = []
        while path not in self._stacks:
            missing.append(path)
            path = path.rpartition("/")[0]
        above = self._stacks[path]
        for below in reversed(missing):
            above = _step(above, below.rpartition("/")[2]) if above else None
            self._stacks[below] = above
        return above

    def entry(self, path: str) -> Entry | None:
        """See `trees.Tree`."""
        stack = self._stack(path)
        if stack is None:
            return None
        if not stack:
            return Entry(Kind.DIRECTORY, 0o755)
        with within_reach(stack[0]) as near:
            return _entry(near)

    def children(self, path: str) -> list[str]:
        """See `trees.Tree`."""
        stack = self._stack(path)
        if not stack or not stat.S_ISDIR(status(stack[0]).st_mode):
            return []
        return sorted(children(stack))

    def open(self, path: str) -> io.BufferedReader:
        """See `trees.Tree`."""
        return open(self.host_path(path), "rb", opener=open_path)

    def digest(self, path: str) -> str:
        """See `trees.Tree`."""
        if path not in self._digests:
            with self.open(path) as file:
                self._digests[path] = content_digest(file)
        return self._digests[path]

    def plain_path(self, path: str) -> str | None:
        """Where all of ``path`` lies as it is, when a single layer holds it; else None."""
        stack = self._stack(path)
        return stack[0] if stack and len(stack) == 1 else None

    def host_path(self, path: str) -> str:
        """Where the topmost file at ``path`` lies. Raises TreeError when there is none."""
        stack = self._stack(path)
        if not stack:
            raise TreeError(f"open /{path}: no such file")
        return stack[0]


def _entry(path: str) -> Entry | None:
    found = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None  # a socket
    device = kind in (Kind.CHARACTER, Kind.BLOCK)
    return Entry(
        kind,
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        found.st_size if kind is Kind.FILE else 0,
        found.st_mtime_ns,
        os.readlink(path) if kind is Kind.SYMLINK else "",
        (os.major(found.st_rdev), os.minor(found.st_rdev)) if device else (0, 0),
        _xattrs(path) if kind in (Kind.FILE, Kind.DIRECTORY) else {},
        (found.st_dev, found.st_ino) if kind is Kind.FILE and found.st_nlink > 1 else None,
    )


def _step(above: Stack, name: str) -> Stack | None:
    found: list[str] = []
    for directory in above:
        path = f"{directory}/{name}"
        try:
            found_here = status(path)
        except OSError:
            continue
        if is_whiteout(found_here):
            break
        if not stat.S_ISDIR(found_here.st_mode):
            if not found:
                return (path,)
            break
        found.append(path)
        with within_reach(path) as near:
            if is_opaque(near):
                break
    # The stack of a file has one element and no children: no directory is searched below it.
    return tuple(found) or None


def _xattrs(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    kept = [name for name in names if not name.startswith(("user.overlay.", "trusted.", "system."))]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in kept}
