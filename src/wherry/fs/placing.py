"""Making something in a private directory and renaming it to its place when it is complete."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from wherry.errors import KernelError
from wherry.fs.making import make_directory
from wherry.fs.removing import remove_tree
from wherry.linux.renameat2 import rename_new


@contextmanager
def private_directory(at: int, prefix: str = ".private-") -> Iterator[tuple[str, int]]:
    """A new directory of ``at`` that only its owner can enter: its name and its descriptor.

    What is still there in the end is removed. ``at`` must be the engine's own: in a directory
    where others can write, they could rename this one.
    """
    name = prefix + secrets.token_hex(8)
    directory = make_directory(at, name, 0o700)
    try:
        yield name, directory
    finally:
        os.close(directory)
        remove_tree(at, name)


def put_in_place(private: int, name: str, at: int, final: str) -> bool:
    """Rename what is complete to its place; False when something is there, which then stays.

    Raises KernelError, with EXDEV where ``at`` lies on another file system or in another project.
    """
    try:
        rename_new(private, name, at, final)
    except FileExistsError:
        return False
    except OSError as error:
        raise KernelError("put in place", final, error.errno or errno.EIO) from error
    return True
