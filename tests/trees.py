"""Directories by descriptors, for any tier: trees that no path leads through."""

from __future__ import annotations

import os
from contextlib import suppress

from hypothesis import strategies as st

from wherry.fs.removing import remove_tree

DEPTH = 2500
"""Levels that are more than an interpreter's stack and, as names, more than PATH_MAX."""


NAMES = st.sampled_from(["a", "b", "c", "\udcff", "-", " "])
TREES = st.recursive(
    st.sampled_from(["file", "link", "fifo"]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=30,
)


def build(at: int, tree: object) -> None:
    """Make the content of a directory."""
    assert isinstance(tree, dict)
    for name, kind in tree.items():
        if kind == "file":
            with open(name, "xb", opener=lambda p, f: os.open(p, f, dir_fd=at)) as file:
                file.write(b"x")
        elif kind == "link":
            os.symlink("to", name, dir_fd=at)
        elif kind == "fifo":
            os.mkfifo(name, dir_fd=at)
        else:
            os.mkdir(name, dir_fd=at)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
            build(inner, kind)
            os.close(inner)


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


def empty_directory(directory: int) -> None:
    """Remove all that an open directory holds; it stays."""
    for name in os.listdir(directory):
        remove_tree(directory, name)
