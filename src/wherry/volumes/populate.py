"""Filling a new volume with what the image has at its mount point (copy-up)."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from wherry.errors import KernelError
from wherry.fs.copying import copy_tree
from wherry.fs.opening import open_in_root

_DIRECTORY = os.O_PATH | os.O_DIRECTORY


def is_empty(path: str) -> bool:
    """Whether a folder has no content; a fresh file system's lost+found does not count."""
    with os.scandir(path) as entries:
        return all(entry.name == "lost+found" for entry in entries)


def populate(volume: str, root: str, destination: str) -> bool:
    """Copy the folder ``destination`` of the image mounted at ``root`` into an empty volume.

    ``destination`` is resolved inside ``root`` by the kernel, whatever links the image holds.
    The content appears as a whole or not at all. Returns whether something was copied; an image
    without that folder, or with a file in its place, is no error.
    """
    if not is_empty(volume):
        return False
    root_fd = os.open(root, _DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            origin = open_in_root(root_fd, destination, _DIRECTORY)
        except KernelError:
            return False
        try:
            return _copy(origin, volume)
        finally:
            os.close(origin)
    finally:
        os.close(root_fd)


def _copy(origin: int, volume: str) -> bool:
    aside = f"{volume}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    if os.path.ismount(volume):
        # What is mounted cannot be swapped: copy in place.
        with _opened(volume) as target:
            copy_tree(origin, target)
        return True
    os.mkdir(aside, 0o700)
    with _opened(aside) as target:
        copy_tree(origin, target)
    # An empty folder is replaced by rename(2) in one step.
    os.rename(aside, volume)
    return True


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
