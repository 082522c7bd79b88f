"""inotify(7): to be told when a file or a directory changes."""

from __future__ import annotations

import ctypes
import os

IN_MODIFY = 0x00000002
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE = 0x00000200

_libc = ctypes.CDLL(None, use_errno=True)


def watch(path: str, mask: int) -> int:
    """A non-blocking inotify descriptor that becomes readable when ``path`` changes.

    Raises OSError that names the call and the path. The caller closes the descriptor.
    """
    fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if fd < 0:
        raise _error("inotify_init1", path)
    if _libc.inotify_add_watch(fd, os.fsencode(path), mask) < 0:
        error = _error("inotify_add_watch", path)
        os.close(fd)
        raise error
    return fd


def drain(fd: int) -> None:
    """Forget the events that are waiting; they only say that something changed."""
    try:
        while os.read(fd, 65536):
            pass
    except BlockingIOError:
        pass


def _error(call: str, path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}", path)
