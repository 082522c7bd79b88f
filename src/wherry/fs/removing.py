"""Removing trees by their open parent: no link is followed, no mount entered, at any depth."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress

from wherry.errors import KernelError
from wherry.fs.descent import Descent, descending
from wherry.fs.opening import within_reach

_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_AGAIN = 100
"""How often a directory into which somebody still writes is emptied anew."""


def remove_tree(at: int, name: str | bytes) -> None:
    """Remove ``name`` of the open directory ``at`` with all below it; it may be anything.

    Nothing happens when it is not there. Raises KernelError, with EBUSY for a mount point.
    """
    here = os.fsencode(name)
    try:
        os.unlink(here, dir_fd=at)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # unlink(2): EISDIR here, EPERM by POSIX
        pass
    except OSError as error:
        raise KernelError("remove", os.fsdecode(name), error.errno or errno.EIO) from error
    try:
        with descending(at, cross_mounts=False) as descent:
            _Removal(descent).remove(here)
    except OSError as error:
        number = errno.EBUSY if error.errno == errno.EXDEV else error.errno or errno.EIO
        raise KernelError("remove", os.fsdecode(name), number) from error


def remove_path(path: str) -> None:
    """`remove_tree` of a path whose parent only the engine can write."""
    try:
        with within_reach(path.rstrip("/")) as near:
            parent, name = os.path.split(near)
            at = os.open(parent or ".", _PARENT)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError("remove", path, error.errno or errno.EIO) from error
    try:
        remove_tree(at, name)
    except KernelError as error:
        raise KernelError("remove", path, error.errno) from error
    finally:
        os.close(at)


def set_aside(at: int, name: str | bytes, private: int) -> str | None:
    """Move ``name`` of ``at`` into the open directory ``private``, which nobody else can enter.

    Returns its name there, or None when it was not there. What is aside is safe to remove even
    while others still hold directories in it open. Raises OSError.
    """
    aside = f"removed-{secrets.token_hex(8)}"
    try:
        os.rename(name, aside, src_dir_fd=at, dst_dir_fd=private)
    except FileNotFoundError:
        return None
    return aside


class _Removal:
    """One tree being removed: from a directory down to its leaves, and up again."""

    def __init__(self, descent: Descent) -> None:
        self._descent = descent
        self._pending: list[list[bytes]] = []
        """For each directory on the way down those in it that are still to be removed."""
        self._attempts = _AGAIN

    def remove(self, name: bytes) -> None:
        self._pending.append([name])
        while self._pending:
            if self._pending[-1]:
                self._enter(self._pending[-1].pop())
            else:
                self._leave()

    def _enter(self, name: bytes) -> None:
        try:
            self._descent.enter(name)
        except FileNotFoundError:
            return
        except NotADirectoryError:  # it was one a moment ago
            self._unlink(name, self._pending[-1])
            return
        self._pending.append([])
        with os.scandir(self._descent.directory) as found:
            entries = [(os.fsencode(one.name), one.is_dir(follow_symlinks=False)) for one in found]
        for inner, is_directory in entries:
            if is_directory:
                self._pending[-1].append(inner)
            else:
                self._unlink(inner, self._pending[-1])

    def _leave(self) -> None:
        self._pending.pop()
        if not self._descent.depth:
            return
        name = os.fsencode(self._descent.leave())
        try:
            os.rmdir(name, dir_fd=self._descent.directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            self._again(name, error)

    def _unlink(self, name: bytes, directories: list[bytes]) -> None:
        try:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._descent.directory)
        except IsADirectoryError as error:
            self._spend(error)
            directories.append(name)

    def _again(self, name: bytes, error: OSError) -> None:
        self._spend(error)
        self._pending[-1].append(name)

    def _spend(self, error: OSError) -> None:
        self._attempts -= 1
        if self._attempts < 0:
            raise error
