"""Making files in an open directory, and their owner, mode, times and attributes.

What is made is held by a descriptor wherever the kernel gives one, and described through it: a
name may stand for something else a moment later.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
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


def make_directories(at: int, parts: Iterable[str | bytes], mode: int = 0o755) -> int:
    """The directory reached by ``parts``, made where it is missing and opened for reading.

    No link is followed: one on the way raises NotADirectoryError.
    """
    directory = os.dup(at)
    try:
        for part in parts:
            with suppress(FileExistsError):
                os.mkdir(part, mode, dir_fd=directory)
            inner = open_directory(part, directory)
            os.close(directory)
            directory = inner
    except BaseException:
        os.close(directory)
        raise
    return directory


def describe(descriptor: int, metadata: Metadata) -> None:
    """Give an open file or directory its owner, mode, attributes and time, in this order.

    Changing the owner takes set-user-ID bits and file capabilities away. Raises OSError.
    """
    os.fchown(descriptor, metadata.uid, metadata.gid)
    if metadata.mode is not None:
        os.fchmod(descriptor, metadata.mode)
    for key, value in metadata.xattrs:
        set_attribute(descriptor, key, value)
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


def set_attribute(descriptor: int, key: str, value: bytes) -> bool:
    """Set an attribute of an open file; False where the file system has no room for its kind.

    Raises OSError for other reasons, ValueError for a key that cannot be one.
    """
    try:
        os.setxattr(descriptor, key, value)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return False
        raise
    return True


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
