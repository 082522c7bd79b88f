"""The daemon's PID file: one daemon a file, and one that a dead daemon left is replaced."""

from __future__ import annotations

import contextlib
import os

from wherry.errors import Conflict, WherryError


def write(path: str) -> None:
    """Write this process's number; raises Conflict while the process named there lives."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise WherryError(f"read pid file {path}: {error.strerror}") from error
    if text.isdigit() and int(text) != os.getpid() and _is_daemon(int(text)):
        raise Conflict(
            f"process with PID {text} is still running: stop it, or remove {path} when it is not"
            " a daemon"
        )
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
        os.rename(temporary, path)
    except OSError as error:
        raise WherryError(f"write pid file {path}: {error.strerror}") from error


def remove(path: str) -> None:
    """Remove the file when it names this process."""
    with contextlib.suppress(OSError):
        with open(path, encoding="ascii") as file:
            own = file.read().strip() == str(os.getpid())
        if own:
            os.unlink(path)


def _is_daemon(pid: int) -> bool:
    """Whether a process lives that may be a daemon: numbers are used again by other programs."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return b"daemon" in words or any(b"dockerd" in word for word in words[:1])
