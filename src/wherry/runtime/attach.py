"""One attached client: its socket belongs to the shim from now on."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from wherry.runtime.backlog import Backlog
from wherry.runtime.loop import READ, WRITE, Loop

_CHUNK = 1 << 16
STREAMS = {"stdout": 1, "stderr": 2}


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """Which streams, and how.

    ``framed`` puts Docker's 8-byte header before each piece of output. ``detach_keys`` are
    looked for in the input when there are any; ``initial`` is input that was read already.
    """

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    framed: bool = False
    detach_keys: bytes = b""
    initial: bytes = b""


class KeyFilter:
    """Finds the detach sequence in a stream of input, however it is cut."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    return bytes(passed), True
                continue
            passed += self._keys[: self._matched]
            self._matched = int(byte == self._keys[0])
            if not self._matched:
                passed.append(byte)
            elif len(self._keys) == 1:
                return bytes(passed), True
        return bytes(passed), False


class Client:
    """Sends output, through a bounded ``backlog``, and reads input.

    ``on_input(data)`` gets input; ``on_input_end(detached)`` comes once, when the client has
    sent its last byte or its detach keys. ``on_room`` comes when a full backlog has room again,
    and at the end.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        options: AttachOptions,
        on_input: Callable[[bytes], None],
        on_input_end: Callable[[bool], None],
        on_room: Callable[[], None],
        backlog: Backlog,
    ) -> None:
        self.options = options
        self.ended = False
        self.sent = 0
        self._loop = loop
        self._sock = sock
        self._keys = KeyFilter(options.detach_keys)
        self._backlog = backlog
        self._finishing = False
        self._reading = False
        self._on_input = on_input
        self._on_input_end = on_input_end
        self._on_room = on_room
        sock.setblocking(False)

    @property
    def full(self) -> bool:
        """Whether the backlog is beyond its bound."""
        return self._backlog.full

    @property
    def flushing(self) -> bool:
        """Whether it only stays until it has taken the rest."""
        return self._finishing and not self.ended

    def begin(self) -> None:
        """Start to read; input that came with the request goes first."""
        if self.options.stdin and self.options.initial:
            self._take(self.options.initial)
        self.read_more(True)

    def read_more(self, wanted: bool) -> None:
        """Pause or resume reading."""
        if self.ended or wanted == self._reading or (wanted and self._finishing):
            return
        self._reading = wanted
        if wanted:
            self._loop.watch(self._sock.fileno(), READ, self._readable)
        else:
            self._loop.unwatch(self._sock.fileno(), READ)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.drop()
            return
        if not data:
            self.read_more(False)
            self._on_input_end(False)
            if not (self.options.stdout or self.options.stderr):
                self.finish()
            return
        if self.options.stdin:
            self._take(data)

    def _take(self, data: bytes) -> None:
        passed, detached = self._keys.feed(data)
        if passed:
            self._on_input(passed)
        if detached:
            self.read_more(False)
            self._on_input_end(True)
            self.finish()

    def output(self, stream: str, data: bytes) -> None:
        """Send a piece of output, now or when the client takes it."""
        if self.ended or self._finishing or not getattr(self.options, stream):
            return
        if self.options.framed:
            data = struct.pack("!BxxxI", STREAMS[stream], len(data)) + data
        if not self._backlog:
            try:
                written = self._sock.send(data, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                written = 0
            except OSError:
                self.drop()
                return
            self.sent += written
            data = data[written:]
            if not data:
                return
            self._loop.watch(self._sock.fileno(), WRITE, self._writable)
        self._backlog.append(data)

    def _writable(self) -> None:
        was_full = self.full
        try:
            while data := self._backlog.first():
                written = self._sock.send(data, socket.MSG_NOSIGNAL)
                self.sent += written
                self._backlog.taken(written)
        except BlockingIOError:
            pass
        except OSError:
            self.drop()
            return
        if not self._backlog:
            self._loop.unwatch(self._sock.fileno(), WRITE)
            if self._finishing:
                self._close()
                return
        if was_full and not self.full:
            self._on_room()

    def finish(self) -> None:
        """End once everything was sent."""
        if self.ended or self._finishing:
            return
        self._finishing = True
        if self._reading:
            self._reading = False
            self._loop.unwatch(self._sock.fileno(), READ)
        if not self._backlog:
            self._close()

    def drop(self) -> None:
        """End now."""
        if self.ended:
            return
        if self._reading:
            self._on_input_end(False)
        self._close()

    def _close(self) -> None:
        self.ended = True
        self._backlog.close()
        self._loop.unwatch(self._sock.fileno())
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._on_room()
