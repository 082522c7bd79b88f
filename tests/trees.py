"""Directories by descriptors, for any tier: trees that no path leads through."""

from __future__ import annotations

import os
from contextlib import suppress

from wherry.fs.removing import remove_tree

DEPTH = 2500
"""Levels that are more than an interpreter's stack and, as names, more than PATH_MAX."""


def deepen(top: int, depth: int, name: str = "d") -> None:
    """Nest directories; no path leads so far down."""
    here = os.dup(top)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def open_count(top: int) -> int:
    """Descriptors of this process that lead to or below a directory."""
    prefix = os.readlink(f"/proc/self/fd/{top}")
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith(prefix)
    return count


def empty(directory: int) -> None:
    """Remove all that an open directory holds."""
    for name in os.listdir(directory):
        remove_tree(directory, name)
