"""The daemon's side of the nftables process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

from wherry.errors import KernelError, Unavailable
from wherry.network.nft import protocol
from wherry.network.nft.protocol import Outcome

_ATTEMPTS = 2


class Nftables:
    """Applies ruleset texts through a process of its own; any thread may ask.

    The process works in the network namespace that its starter's thread was in, is started when
    first needed and again when it was killed, and ends when it is closed or its starter ends.
    """

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._writers: set[int] = set()

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        with self._one_at_a_time:
            self._started()

    def run(self, text: str, step: str, namespace_fd: int | None = None) -> str:
        """Apply ``text`` in one transaction and return nft's output.

        Done in the network namespace ``namespace_fd`` (default: the one of the process). Raises
        KernelError with libnftables' own explanation when anything in it was refused (then
        nothing of it is in effect), Unavailable when the library is not installed.

        A process that was killed meanwhile may have applied the text or not: it is said again
        to a new one. What adds is in effect then in either case; what deletes is refused when it
        was done already, and the caller repairs as it does when others changed a table.
        """
        with self._one_at_a_time:
            outcome, words = self._ask(text.encode(), namespace_fd)
        if outcome == Outcome.APPLIED:
            return words
        if outcome == Outcome.UNAVAILABLE:
            raise Unavailable(words)
        first = words.strip().splitlines()[0] if words.strip() else "unknown reason"
        raise KernelError(f"{step} ({first.removeprefix('Error: ')})", "nftables", _errno(first))

    def is_own(self, writer: int) -> bool:
        """Whether a process that changed a table was ours."""
        return writer in self._writers

    def close(self) -> None:
        """End the process."""
        with self._one_at_a_time:
            self._end()

    def _ask(self, text: bytes, namespace_fd: int | None) -> tuple[int, str]:
        for _ in range(_ATTEMPTS):
            channel = self._started()
            try:
                protocol.send(channel, 0, text, namespace_fd)
                outcome, words, _ = protocol.receive(channel)
                return outcome, words.decode(errors="replace")
            except (EOFError, ConnectionError):
                self._end()
        return Outcome.UNAVAILABLE, "apply firewall rules: the nftables process ended twice"

    def _started(self) -> socket.socket:
        if self._channel is not None:
            return self._channel
        near, far = socket.socketpair()
        try:
            with far:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-m", "wherry.network.nft", str(far.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                    # Its words are looked for in the C library's messages: never translated.
                    env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                    pass_fds=(far.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            near.close()
            raise
        self._writers.add(self._process.pid)
        self._channel = near
        return near

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.wait()
            self._process = None


def _errno(reason: str) -> int:
    """libnftables reports errors as text; find the number again."""
    return next((code for code in range(1, 134) if reason.endswith(os.strerror(code))), 22)
