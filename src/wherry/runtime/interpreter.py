"""A sealed copy of the interpreter's binary, for processes that containers might look at.

A process that joins a container shows it, through /proc/PID/exe, the file that it executes.
When that is the host's own binary, a container with enough privilege can overwrite it
(CVE-2019-5736). A sealed memory file can be overwritten by nobody.
"""

from __future__ import annotations

import fcntl
import os
import sys

_MFD_CLOEXEC = 0x1
_MFD_ALLOW_SEALING = 0x2
_MFD_EXEC = 0x10
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed_interpreter() -> int | None:
    """A descriptor of the copy; None where the kernel does not allow one."""
    try:
        fd = os.memfd_create("wherry-python", _MFD_CLOEXEC | _MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError:
        try:
            fd = os.memfd_create("wherry-python", _MFD_CLOEXEC | _MFD_ALLOW_SEALING)
        except OSError:
            return None
    try:
        with open(os.path.realpath(sys.executable), "rb") as binary:
            while os.sendfile(fd, binary.fileno(), None, 1 << 24):
                pass
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        return None
    return fd
