"""The one table from kinds of failure to status codes, and the form of error bodies."""

from __future__ import annotations

import errno
import os
import sqlite3

from wherry.errors import (
    DISK_SPACE,
    Conflict,
    Forbidden,
    InvalidParameter,
    KernelError,
    NotFound,
    NotImplementedHere,
    NotModified,
    Unauthorized,
    Unavailable,
    WherryError,
)

INTERNAL = "internal error: the request was not completed; the daemon's log has the reason"

STATUS: dict[type[WherryError], int] = {
    InvalidParameter: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    NotModified: 304,
    NotImplementedHere: 501,
    Unavailable: 503,
    KernelError: 500,
    WherryError: 500,
}


_SCARCE = {
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors of the whole host",
    errno.EAGAIN: "processes and threads",
    errno.ENOMEM: "memory",
    errno.ENOSPC: "disk space",
    errno.EDQUOT: "disk space",
}
_SCARCE_IN_STORE = {
    sqlite3.SQLITE_CANTOPEN: errno.EMFILE,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}


def shortage(error: BaseException) -> WherryError | None:
    """What the engine has run out of, or lacks on a disk that has turned read-only, when that is
    why something failed that nobody foresaw.
    """
    number: int | None = None
    if isinstance(error, OSError):
        number = error.errno
        if number == errno.EROFS:
            return WherryError(f"write {error.filename or 'a file'}: {os.strerror(number)}")
    elif isinstance(error, MemoryError):
        number = errno.ENOMEM
    elif isinstance(error, sqlite3.OperationalError):
        number = _SCARCE_IN_STORE.get(getattr(error, "sqlite_errorcode", 0))
    elif isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        number = errno.EAGAIN
    if number is None or number not in _SCARCE:
        return None
    why = DISK_SPACE.get(number) or os.strerror(number)
    return WherryError(f"the engine has run out of {_SCARCE[number]}: {why}")


def status_of(error: WherryError) -> int:
    """The status code of a failure: that of its nearest kind."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
