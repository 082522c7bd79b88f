"""What can go wrong between a client and a daemon.

Failures that the daemon reports carry its status and message, and are also instances of the
matching kind of :mod:`wherry.errors`, so that a program handles an embedded and a remote engine
the same way.
"""

from __future__ import annotations

from wherry.errors import (
    Conflict,
    Forbidden,
    InvalidParameter,
    NotFound,
    NotImplementedHere,
    Unauthorized,
    Unavailable,
    WherryError,
)


class ClientError(WherryError):
    """Base of all failures of the client."""


class ConnectionFailed(ClientError, Unavailable):
    """No daemon answers at the address."""

    def __init__(self, address: str, reason: str, *, permission: bool = False) -> None:
        self.address = address
        self.reason = reason
        self.permission = permission
        if permission:
            message = (
                "permission denied while trying to connect to the Wherry daemon socket at "
                f"{address}: {reason}"
            )
        else:
            message = (
                f"Cannot connect to the Wherry daemon at {address}. Is the wherry daemon running?"
            )
        super().__init__(message)


class ConnectionLost(ClientError, Unavailable):
    """The daemon closed the connection in the middle of an answer."""


class ProtocolError(ClientError):
    """The other side does not speak HTTP as an engine does."""


class ApiError(ClientError):
    """The daemon answered with an error; ``status`` is the HTTP status, ``str()`` the message."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class BadRequestError(ApiError, InvalidParameter):
    """400"""


class UnauthorizedError(ApiError, Unauthorized):
    """401"""


class ForbiddenError(ApiError, Forbidden):
    """403"""


class NotFoundError(ApiError, NotFound):
    """404"""


class ConflictError(ApiError, Conflict):
    """409"""


class NotImplementedError_(ApiError, NotImplementedHere):
    """501"""


class UnavailableError(ApiError, Unavailable):
    """503"""


_KINDS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    501: NotImplementedError_,
    503: UnavailableError,
}


def api_error(status: int, message: str) -> ApiError:
    """The exception for an HTTP ``status`` with the daemon's ``message``."""
    return _KINDS.get(status, ApiError)(status, message)


class ContainerFailed(ClientError):
    """A container that was waited for ended with an exit code that is not zero."""

    def __init__(self, container: str, exit_code: int, stdout: bytes, stderr: bytes) -> None:
        self.container = container
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr
        shown = stderr.decode("utf-8", "replace").strip()
        super().__init__(
            f"container {container[:12]} ended with exit code {exit_code}"
            + (f": {shown}" if shown else "")
        )
