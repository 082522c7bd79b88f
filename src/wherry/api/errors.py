"""The one table from kinds of failure to status codes, and the form of error bodies."""

from __future__ import annotations

from wherry.errors import (
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


def status_of(error: WherryError) -> int:
    """The status code of a failure: that of its nearest kind."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
