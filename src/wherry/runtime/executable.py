"""Finding the program that a container shall run, with Docker's words for every failure."""

from __future__ import annotations

import errno
import os
import stat

from wherry.runtime.bundle import StartFailed

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(command: str, environment: dict[str, str], runtime_binary: os.stat_result | None) -> str:
    """The path of ``command``, searched in the PATH of ``environment``.

    Runs as the container's user, in its root and working folder. ``runtime_binary`` is the
    running interpreter's own file, which is refused (it shows up as /proc/self/exe).
    """
    if "/" in command:
        _require_executable(command, command, runtime_binary)
        return command
    denied = False
    for folder in environment.get("PATH", _DEFAULT_PATH).split(":"):
        path = f"{folder or '.'}/{command}"
        try:
            _require_executable(command, path, runtime_binary)
        except StartFailed as failure:
            denied = denied or failure.errno == errno.EACCES
            continue
        return path
    if denied:
        raise _failure(command, "permission denied", errno.EACCES, _NOT_EXECUTABLE)
    message = f'exec: "{command}": executable file not found in $PATH'
    raise StartFailed(message, "exec", command, errno.ENOENT, _NOT_FOUND)


def _require_executable(command: str, path: str, runtime_binary: os.stat_result | None) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        code = _NOT_EXECUTABLE if error.errno == errno.EACCES else _NOT_FOUND
        number = error.errno or 0
        reason = os.strerror(number).lower()
        raise _failure(command, f"stat {path}: {reason}", number, code) from None
    if stat.S_ISDIR(status.st_mode):
        raise _failure(command, "is a directory", errno.EISDIR, _NOT_EXECUTABLE)
    if runtime_binary is not None and os.path.samestat(status, runtime_binary):
        raise _failure(command, "permission denied", errno.EACCES, _NOT_EXECUTABLE)
    if not os.access(path, os.X_OK, effective_ids=True) or not status.st_mode & 0o111:
        raise _failure(command, "permission denied", errno.EACCES, _NOT_EXECUTABLE)


def execve_failed(command: str, number: int) -> StartFailed:
    """What a failed execve(2) of a file that looked right means."""
    code = _NOT_FOUND if number in (errno.ENOENT, errno.ENOTDIR) else _NOT_EXECUTABLE
    reason = os.strerror(number).lower()
    return StartFailed(f"exec {command}: {reason}", "exec", command, number, code)


def _failure(command: str, reason: str, number: int, code: int) -> StartFailed:
    return StartFailed(f'exec: "{command}": {reason}', "exec", command, number, code)
