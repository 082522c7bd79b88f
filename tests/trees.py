"""Trees that tests make deeper than any path, and take away again."""

from __future__ import annotations

import os

from wherry.fs.removing import remove_tree


def empty_directory(directory: int) -> None:
    """Remove all that an open directory holds; it stays."""
    for name in os.listdir(directory):
        remove_tree(directory, name)
