"""Filling a new volume with what the image has at its mount point (copy-up).

Others may use the volume while it is filled, so its directory is never replaced: the copy is made
in a private folder beside it, and its entries are then moved into it one by one. A crash between
leaves the folder, and the next container that needs the volume moves the rest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from wherry.errors import KernelError
from wherry.fs.copying import copy_tree
from wherry.fs.opening import DIRECTORY, open_in_root
from wherry.fs.placing import put_in_place
from wherry.fs.removing import remove_tree

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_PARTIAL = ".partial"
_COMPLETE = ".complete"


def needs_content(path: str) -> bool:
    """Whether a volume is empty, or was not filled to the end."""
    return os.path.isdir(path + _COMPLETE) or _is_empty(path)


def _is_empty(path: str) -> bool:
    """Whether a folder has no content; a fresh file system's lost+found does not count."""
    with os.scandir(path) as entries:
        return all(entry.name == "lost+found" for entry in entries)


def populate(volume: str, root: str, destination: str) -> bool:
    """Copy the folder ``destination`` of the image mounted at ``root`` into an empty volume.

    ``destination`` is resolved inside ``root`` by the kernel, whatever links the image holds.
    What others put into the volume meanwhile stays. Returns whether something was copied; an
    image without that folder, or with a file in its place, is no error. Raises OSError and
    KernelError.
    """
    parent, name = os.path.split(volume)
    with _opened(parent) as home, _opened(volume) as target:
        fcntl.flock(home, fcntl.LOCK_EX)  # two containers may need it at once
        complete = name + _COMPLETE
        if os.path.isdir(volume + _COMPLETE):
            _move(home, complete, target)
            return True
        if not _is_empty(volume):
            return False
        origin = _origin(root, destination)
        if origin < 0:
            return False
        try:
            if os.fstat(home).st_dev != os.fstat(target).st_dev:  # mounted there
                copy_tree(origin, target)
                return True
            _prepare(home, name + _PARTIAL, origin)
            os.rename(name + _PARTIAL, complete, src_dir_fd=home, dst_dir_fd=home)
            try:
                _move(home, complete, target)
            except KernelError as error:
                if error.errno != errno.EXDEV:  # files do not change their quota's project
                    raise
                copy_tree(origin, target)
                remove_tree(home, complete)
        finally:
            os.close(origin)
    return True


def _origin(root: str, destination: str) -> int:
    """The image's folder, or -1 when it has none."""
    image = os.open(root, _DIRECTORY | os.O_CLOEXEC)
    try:
        return open_in_root(image, destination, _DIRECTORY)
    except KernelError:
        return -1
    finally:
        os.close(image)


def _prepare(home: int, name: str, origin: int) -> None:
    remove_tree(home, name)
    os.mkdir(name, 0o700, dir_fd=home)
    copy = os.open(name, DIRECTORY, dir_fd=home)
    try:
        copy_tree(origin, copy)
    finally:
        os.close(copy)


def _move(home: int, name: str, target: int) -> None:
    """Move all that is in the folder ``name`` into the volume, and give it the folder's owner."""
    made = os.open(name, DIRECTORY, dir_fd=home)
    try:
        for inner in os.listdir(made):
            put_in_place(made, inner, target, inner)
        found = os.fstat(made)
        os.fchown(target, found.st_uid, found.st_gid)
        os.fchmod(target, stat.S_IMODE(found.st_mode))
    finally:
        os.close(made)
    remove_tree(home, name)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
