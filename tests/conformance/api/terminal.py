"""A real terminal around the official client."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from types import TracebackType

from tests.daemon import Daemon, docker_client


class Terminal:
    """Runs ``docker ARGUMENTS`` on a pseudo-terminal of a given size."""

    def __init__(self, daemon: Daemon, *arguments: str, rows: int = 24, columns: int = 80) -> None:
        self.output = b""
        self.code: int | None = None
        self._pid, self._master = pty.fork()
        if not self._pid:
            os.execve(
                docker_client(),
                ["docker", *arguments],
                daemon.client_environment() | {"TERM": "xterm"},
            )
        self.resize(rows, columns)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal a size, as a window manager does."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGWINCH)

    def send(self, text: str) -> None:
        """Type."""
        os.write(self._master, text.encode())

    def expect(self, text: str, seconds: float = 20) -> str:
        """Read until ``text`` has appeared; all that was read up to then, which is forgotten."""
        wanted, deadline = text.encode(), time.monotonic() + seconds
        while wanted not in self.output:
            if not self._read(deadline):
                raise AssertionError(f"{text!r} did not appear in {self.output!r}")
        seen, _, self.output = self.output.partition(wanted)
        return (seen + wanted).decode(errors="replace")

    def wait(self, seconds: float = 20) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                return self.code
            time.sleep(0.02)
        raise AssertionError(f"the client did not end: {self.output!r}")

    def _read(self, deadline: float) -> bool:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not _is_readable(self._master, remaining):
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the client has closed its side
            return False
        self.output += data
        return bool(data)


def _is_readable(descriptor: int, seconds: float) -> bool:
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    return bool(ready.poll(seconds * 1000))
