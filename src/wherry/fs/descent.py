"""Going down and up a tree of any depth, with few descriptors and no recursion."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from wherry.errors import KernelError
from wherry.fs.opening import DIRECTORY, open_directory
from wherry.linux.openat2 import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

_KEPT = 32
"""Directories that stay open above the one where the walk is; those above them are reopened."""


class _Level:
    """A directory on the way down: open, or what it is to be recognised by."""

    __slots__ = ("descriptor", "identity")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.identity = (0, 0)


class Descent:
    """A way down from the directory ``top``, which stays the caller's.

    ``enter`` never follows a link and goes one level down; ``leave`` goes one level up. Far down,
    the directories far above are closed; on the way back they are opened by ".." and must be the
    same ones, so that somebody who moves a directory away in the meantime leads the walk nowhere.
    With ``cross_mounts=False`` a mount point is not entered (EXDEV).
    """

    def __init__(self, top: int, *, cross_mounts: bool = True) -> None:
        self._top = top
        self._levels: list[_Level] = []
        self._names: list[str | bytes] = []
        self._cross_mounts = cross_mounts

    @property
    def directory(self) -> int:
        """The descriptor of the directory where the walk is."""
        return self._levels[-1].descriptor if self._levels else self._top

    @property
    def depth(self) -> int:
        """Levels below the top."""
        return len(self._levels)

    @property
    def path(self) -> str:
        """The names on the way down from the top, "" there."""
        return "/".join(map(os.fsdecode, self._names))

    def enter(self, name: str | bytes) -> None:
        """Go down into the directory ``name``.

        Raises OSError: ENOENT, ENOTDIR for anything else than a directory (links, too), EXDEV.
        """
        if self._cross_mounts:
            descriptor = open_directory(name, self.directory)
        else:
            descriptor = _open_same_mount(name, self.directory)
        self._levels.append(_Level(descriptor))
        self._names.append(name)
        if len(self._levels) > _KEPT:
            distant = self._levels[-_KEPT - 1]
            if distant.descriptor >= 0:
                found = os.fstat(distant.descriptor)
                distant.identity = (found.st_dev, found.st_ino)
                os.close(distant.descriptor)
                distant.descriptor = -1

    def leave(self) -> str | bytes:
        """Go up; returns the name of what was left.

        Raises OSError (ESTALE) when the directory was moved elsewhere meanwhile.
        """
        left = self._levels.pop()
        name = self._names.pop()
        try:
            if self._levels and self._levels[-1].descriptor < 0:
                above = os.open("..", DIRECTORY, dir_fd=left.descriptor)
                self._levels[-1].descriptor = above
                found = os.fstat(above)
                if (found.st_dev, found.st_ino) != self._levels[-1].identity:
                    raise OSError(errno.ESTALE, "a directory was moved while it was being read")
        finally:
            os.close(left.descriptor)
        return name

    def close(self) -> None:
        """Close all that is open below the top."""
        while self._levels:
            descriptor = self._levels.pop().descriptor
            if descriptor >= 0:
                os.close(descriptor)


@contextmanager
def descending(top: int, *, cross_mounts: bool = True) -> Iterator[Descent]:
    """A `Descent` that is closed in the end."""
    descent = Descent(top, cross_mounts=cross_mounts)
    try:
        yield descent
    finally:
        descent.close()


def walk(descent: Descent) -> Iterator[list[os.DirEntry[str]]]:
    """The entries of every directory, one list for each, parents before their children.

    While the consumer has a list, ``descent`` stands in its directory. Directories that vanish
    or stop being directories meanwhile are left out.
    """
    pending: list[list[str]] = []
    while True:
        with os.scandir(descent.directory) as found:
            entries = list(found)
        yield entries
        pending.append([entry.name for entry in entries if entry.is_dir(follow_symlinks=False)])
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    descent.leave()
                continue
            with suppress(FileNotFoundError, NotADirectoryError):
                descent.enter(pending[-1].pop())
                break
        if not pending:
            return


def _open_same_mount(name: str | bytes, at: int) -> int:
    try:
        return openat2(at, name, DIRECTORY, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)
    except KernelError as error:
        number = errno.ENOTDIR if error.errno == errno.ELOOP else error.errno
        raise OSError(number, os.strerror(number), os.fsdecode(name)) from None
