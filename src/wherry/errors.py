"""The few kinds of failure that Wherry knows.

Every message says what was attempted, on what, and why it failed. The API maps the kinds to
status codes in one table (``wherry.api.errors``); rooms raise them and never know of HTTP.
"""

from __future__ import annotations

import errno as _errno
import os


class WherryError(Exception):
    """Base of all failures that a user may see; ``str(error)`` is the message."""


class InvalidParameter(WherryError):
    """The request itself is wrong: bad syntax, bad value, unknown option."""


class Unauthorized(WherryError):
    """Credentials are missing or wrong."""


class Forbidden(WherryError):
    """The request is understood and will not be done."""


class NotFound(WherryError):
    """The named object does not exist."""


class Conflict(WherryError):
    """The object's state does not allow the request (name taken, still running, in use)."""


class NotModified(WherryError):
    """The object is already in the wanted state; nothing was done."""


class NotImplementedHere(WherryError):
    """A valid request for something that Wherry does not offer."""


class Unavailable(WherryError):
    """A part that is needed does not answer now; trying again later may help."""


DISK_SPACE = {
    _errno.ENOSPC: "no space left on device",
    _errno.EDQUOT: "disk quota exceeded",
}
"""The words by which Docker's clients, and scripts around them, know a disk that is full."""


class KernelError(WherryError):
    """A system call failed.

    Carries the step that was attempted, the path or object it was attempted on and the errno,
    and crosses process borders as these three values.
    """

    def __init__(self, step: str, path: str, errno: int) -> None:
        self.step = step
        self.path = path
        self.errno = errno
        super().__init__(str(self))

    def __str__(self) -> str:
        name = _errno.errorcode.get(self.errno, str(self.errno))
        where = f" {self.path}" if self.path else ""
        if self.errno in DISK_SPACE:
            return f"{self.step}{where}: {DISK_SPACE[self.errno]}"
        return f"{self.step}{where}: {os.strerror(self.errno)} ({name})"


def prefixed(text: str, error: WherryError) -> WherryError:
    """A failure of the same kind that first says what was attempted."""
    kind = type(error) if "__init__" not in vars(type(error)) else WherryError
    return kind(f"{text}: {error}")
