"""Failures of the client and the daemon, as a person at the terminal reads them."""

from __future__ import annotations

import sys

from wherry.client.endpoint import DEFAULT_ADDRESS
from wherry.client.errors import ApiError, ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.errors import WherryError


def message(error: BaseException) -> str:
    """One failure in words; what the daemon said is marked as its answer."""
    if isinstance(error, ApiError):
        return f"Error response from daemon: {error}"
    if isinstance(error, ConnectionFailed) and error.address == DEFAULT_ADDRESS:
        if error.permission:
            return f"{error}\nRun the command as root or as a member of the socket's group."
        return f"{error}\nStart one with: sudo wherry daemon"
    return str(error)


def describe(error: WherryError, path: str) -> int:
    """Print a failure that ended the command ``path``; returns the exit code."""
    sys.stdout.flush()
    print(message(error), file=sys.stderr)
    return 1
