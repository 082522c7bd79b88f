"""A program on a terminal of its own, driven by keys."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping


class Terminal:
    """Starts a program on a new terminal; ``expect`` waits for output, ``type`` presses keys."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], size: tuple[int, int] = (33, 101)
    ) -> None:
        self.output = ""
        self._seen = 0
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            # As a login shell does: whoever runs the tests may have had Ctrl-C ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execvpe(command[0], command, dict(environment))
        self.resize(*size)

    def resize(self, rows: int, columns: int) -> None:
        """Change the terminal's size, as dragging a window does."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, size)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._descriptor, keys.encode())

    def expect(self, text: str, seconds: float = 30) -> None:
        """Wait until ``text`` appears after what was expected before."""
        deadline = time.monotonic() + seconds
        while (found := self.output.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"no {text!r} in {self.output!r}"
            assert self._read(0.2), f"ended without {text!r}: {self.output!r}"
        self._seen = found + len(text)

    def _read(self, seconds: float) -> bool:
        """Take what comes; False at the end."""
        if not _is_readable(self._descriptor, seconds):
            return True
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def exit_code(self, seconds: float = 30) -> int:
        """Wait for the program's end."""
        deadline = time.monotonic() + seconds
        while self._read(0.2):
            assert time.monotonic() < deadline, f"still running: {self.output!r}"
        status = os.waitpid(self._pid, 0)[1]
        os.close(self._descriptor)
        return os.waitstatus_to_exitcode(status)


def _is_readable(descriptor: int, seconds: float) -> bool:
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    return bool(ready.poll(seconds * 1000))
