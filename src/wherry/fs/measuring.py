"""How much a tree holds."""

from __future__ import annotations

import errno
import os

from wherry.errors import KernelError
from wherry.fs.descent import descending, walk
from wherry.fs.opening import DIRECTORY

_ATTEMPTS = 3


def disk_usage(directory: int, *, directories: bool = False) -> int:
    """Sizes in bytes of all files and links below an open directory; hard links count once.

    ``directories``: their own sizes count, too. What vanishes meanwhile does not count. Raises
    KernelError.
    """
    total = 0
    for _ in range(_ATTEMPTS):
        total = 0
        seen: set[tuple[int, int]] = set()
        try:
            with descending(directory) as descent:
                for entries in walk(descent):
                    total += sum(_size(entry, seen, directories) for entry in entries)
            return total
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise KernelError("measure", error.filename or "", error.errno or 5) from error
    return total  # a tree that is moved about all the time has no size; so much was seen


def disk_usage_of(path: str, *, directories: bool = False) -> int:
    """`disk_usage` of a path whose parent only the engine can write; 0 when it is not there."""
    try:
        directory = os.open(path, DIRECTORY)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise KernelError("measure", path, error.errno or errno.EIO) from error
    try:
        return disk_usage(directory, directories=directories)
    finally:
        os.close(directory)


def _size(entry: os.DirEntry[str], seen: set[tuple[int, int]], directories: bool) -> int:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0
    if entry.is_dir(follow_symlinks=False):
        return found.st_size if directories else 0
    if found.st_nlink > 1:
        key = (found.st_dev, found.st_ino)
        if key in seen:
            return 0
        seen.add(key)
    return found.st_size
