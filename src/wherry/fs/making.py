"""Making files in an open directory, and their owner, mode, times and attributes.

What is made is held by a descriptor wherever the kernel gives one, and described through it: a
name may stand for something else a moment later.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from wherry.fs.opening import open_directory
from wherry.linux.fchmodat2 import change_mode

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ITSELF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_UNKNOWN = (errno.ENOTSUP, errno.EPERM)


class Metadata(NamedTuple):
    """What a file has besides its content; ``mtime`` in nanoseconds. None leaves a part alone."""

    mode: int | None
    uid: int
    gid: int
    mtime: int | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()


def make_file(at: int, name: str | bytes, mode: int = 0o600) -> int:
    """A new, empty regular file, open for writing. Raises FileExistsError also for a link."""
    return os.open(name, NEW_FILE, mode, dir_fd=at)


def make_directory(at: int, name: str | bytes, mode: int = 0o700) -> int:
    """A new directory, open for reading. Raises OSError; FileExistsError also for a link.

    Whoever may write in ``at`` may have put another directory there before it was opened; it
    lies in ``at`` in any case.
    """
    os.mkdir(name, mode, dir_fd=at)
    return open_directory(name, at)


def describe(descriptor: int, metadata: Metadata) -> None:
    """Give an open file or directory its owner, mode, attributes and time, in this order.

    Changing the owner takes set-user-ID bits and file capabilities away. Raises OSError, and
    ValueError for a key that can be none.
    """
    os.fchown(descriptor, metadata.uid, metadata.gid)
    if metadata.mode is not None:
        os.fchmod(descriptor, metadata.mode)
    for key, value in metadata.xattrs:
        _set_attribute(descriptor, key, value)
    if metadata.mtime is not None:
        os.utime(descriptor, ns=(metadata.mtime, metadata.mtime))


def describe_name(at: int, name: str | bytes, metadata: Metadata) -> None:
    """Give a link, device or FIFO its owner, mode (a link keeps its own) and time; never follows.

    Such files hold no attributes of users (xattr(7)). Raises OSError.
    """
    os.chown(name, metadata.uid, metadata.gid, dir_fd=at, follow_symlinks=False)
    if metadata.mode is not None:
        set_mode(at, name, metadata.mode)
    if metadata.mtime is not None:
        times = (metadata.mtime, metadata.mtime)
        os.utime(name, ns=times, dir_fd=at, follow_symlinks=False)


def set_mode(at: int, name: str | bytes, mode: int) -> None:
    """Set the mode of ``name``, whatever it is; a symbolic link keeps its own. Raises OSError."""
    itself = os.open(name, _ITSELF, dir_fd=at)
    try:
        found = os.fstat(itself).st_mode
        if not stat.S_ISLNK(found) and stat.S_IMODE(found) != stat.S_IMODE(mode):
            change_mode(itself, stat.S_IMODE(mode))
    finally:
        os.close(itself)


def attributes(descriptor: int) -> tuple[tuple[str, bytes], ...]:
    """The attributes of an open file by name, sorted; none where the file system has none."""
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return ()
    found = []
    for name in sorted(names):
        with suppress(OSError):  # gone meanwhile
            found.append((name, os.getxattr(descriptor, name)))
    return tuple(found)


def _set_attribute(descriptor: int, key: str, value: bytes) -> None:
    """Leave out what the file system has no room for, and what only a true root may set."""
    try:
        os.setxattr(descriptor, key, value)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
