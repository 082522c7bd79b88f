"""Opening what lies below a root or in a directory, wherever its links lead."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from wherry.errors import KernelError
from wherry.linux.openat2 import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)

LONGEST_PATH = 16384
"""Bytes of the longest path inside a tree that archives are made of and extracted to.

A tree may be deeper than PATH_MAX allows to name: openat(2) goes on from where it is.
"""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX = 4096


def open_directory(name: str | bytes, at: int) -> int:
    """The directory ``name`` of the open directory ``at``, for reading.

    Raises OSError: ENOTDIR for a symbolic link, ENOENT when it is not there.
    """
    return os.open(name, DIRECTORY, dir_fd=at)


def open_in_root(
    root: int,
    path: str,
    flags: int,
    mode: int = 0,
    *,
    follow: bool = True,
    cross_mounts: bool = True,
) -> int:
    """openat2(2): open ``path`` as if ``root`` were "/"; never through magic links.

    ``follow=False`` refuses every symbolic link on the way, ``cross_mounts=False`` every mount
    point: with both, what is opened lies in the very file system of ``root``. A path longer than
    PATH_MAX is opened in pieces, and only its first piece may have links. Raises KernelError.
    """
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    if not follow:
        resolve |= RESOLVE_NO_SYMLINKS
    if not cross_mounts:
        resolve |= RESOLVE_NO_XDEV
    if _is_short(path):
        return openat2(root, path, flags, mode, resolve)
    return _open_long(root, path, flags, mode, resolve)


def open_path(path: str, flags: int) -> int:
    """open(2) of an absolute path of any length, for directories that only the engine writes.

    The last name's link is not followed. Raises OSError.
    """
    if _is_short(path):
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_in_root(host, path, flags | os.O_NOFOLLOW)
    except KernelError as error:
        raise OSError(error.errno, os.strerror(error.errno), path) from None
    finally:
        os.close(host)


@contextmanager
def within_reach(path: str) -> Iterator[str]:
    """A path for the same file that calls by path can take, where ``path`` may be longer.

    For directories that only the engine writes. Raises OSError.
    """
    if _is_short(path):
        yield path
        return
    above, name = posixpath.split(path)
    directory = open_path(above, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{name}"
    finally:
        os.close(directory)


def _is_short(path: str) -> bool:
    return len(path) < _PATH_MAX // 4 or len(os.fsencode(path)) < _PATH_MAX


def _open_long(root: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """Open a path beyond PATH_MAX: from each piece's directory to the next, without links."""
    clean = os.fsencode(posixpath.normpath("/" + path)).strip(b"/")
    if len(clean) > LONGEST_PATH:
        raise KernelError("open", path, errno.ENAMETOOLONG)
    directory = root
    try:
        while len(clean) >= _PATH_MAX:
            end = clean.rfind(b"/", 0, _PATH_MAX)
            if end <= 0:
                raise KernelError("open", path, errno.ENAMETOOLONG)
            above = directory
            directory = openat2(above, clean[:end], os.O_PATH | os.O_DIRECTORY, 0, resolve)
            if above != root:
                os.close(above)
            clean = clean[end + 1 :]
            resolve |= RESOLVE_NO_SYMLINKS
        return openat2(directory, clean, flags, mode, resolve)
    finally:
        if directory != root:
            os.close(directory)
