"""The init of ``--init``: a static program of about a kilobyte that reaps and forwards signals.

``reaper.c`` is its source; ``contrib/build-reaper`` makes ``reaper.<machine>`` out of it. It is
run from a sealed memory file, so nothing is mounted and no Python stays behind as process 1.
"""

from __future__ import annotations

import fcntl
import os
import platform

from wherry.errors import KernelError, NotImplementedHere

NAME = "/sbin/docker-init"
"""What it is called in the process list: the name that Docker's users know."""

_MFD_CLOEXEC = 0x1
_MFD_ALLOW_SEALING = 0x2
_MFD_EXEC = 0x10
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def read_program(path: str = "") -> bytes:
    """The program at ``path``, or the built-in one for this machine; empty when there is none."""
    path = path or f"{os.path.dirname(__file__)}/reaper.{platform.machine()}"
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def sealed_copy(program: bytes) -> int:
    """A descriptor of ``program`` that can be executed and never changed."""
    if not program:
        raise NotImplementedHere(f"--init is not available on {platform.machine()}")
    try:
        fd = os.memfd_create("docker-init", _MFD_CLOEXEC | _MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError:  # before Linux 6.3 there was no such flag
        fd = os.memfd_create("docker-init", _MFD_CLOEXEC | _MFD_ALLOW_SEALING)
    try:
        os.write(fd, program)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        raise KernelError("seal init program", "", error.errno or 0) from error
    return fd
