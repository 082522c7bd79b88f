"""The last bytes of a disk, which logs leave alone.

A container that writes without end fills the disk that its log lies on. What is then left has to
do for the engine, so that the container can be stopped and removed, and for all other containers.
"""

from __future__ import annotations

import os
import time

from wherry.linux.files import writable_bytes

_LARGEST = 16 << 20
_SHARE = 20  # of a small disk so small a part is left
_BYTES = 64 << 10
_SECONDS = 0.1
"""So much may be written, and for so long, before the disk is asked again."""


class Floor:
    """Watches the file system of an open file for one who writes to it."""

    def __init__(self) -> None:
        self._low = False
        self._written = _BYTES
        self._asked = 0.0

    def is_reached(self, descriptor: int, size: int) -> bool:
        """Whether the next ``size`` bytes are not to be written to the open file."""
        self._written += size
        now = time.monotonic()
        if self._written >= _BYTES or now - self._asked >= _SECONDS:
            self._written, self._asked = size, now
            self._low = self._look(descriptor)
        return self._low

    def _look(self, descriptor: int) -> bool:
        try:
            found = os.fstatvfs(descriptor)
        except OSError:
            return False
        floor = min(_LARGEST, found.f_blocks * found.f_frsize // _SHARE)
        if self._low:  # not back and forth with every line
            floor += floor // 4
        return writable_bytes(found) < floor
