"""The json-file driver: one JSON object a line, byte for byte as Docker writes them.

``{"log":"text\\n","stream":"stdout","attrs":{…},"time":"2026-01-02T03:04:05.678Z"}``
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable

from wherry.runtime.bundle import LogConfig
from wherry.runtime.logdrivers.floor import Floor
from wherry.runtime.logdrivers.record import LogRecord
from wherry.runtime.loop import Loop

_STOPPED = "wherry: the disk is almost full: what follows is not logged"
_GOES_ON = "wherry: {lines} lines were not logged: the disk was almost full"

_PLAIN = bytes(c for c in range(0x20, 0x7F) if c not in b'\\"<>&')

_ESCAPES = {c: f"\\u{c:04x}" for c in (*range(0x20), *b"<>&", 0x2028, 0x2029)}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\\"): "\\\\", ord('"'): '\\"'}


def quote(line: bytes) -> bytes:
    """The inside of a JSON string, with the characters escaped that Docker escapes."""
    if not line.translate(None, _PLAIN):
        return line
    return line.decode("utf-8", "replace").translate(_ESCAPES).encode()


def timestamp(at: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 in UTC, without trailing zeros."""
    seconds, nanoseconds = divmod(at, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f"{nanoseconds:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


class JsonFile:
    """Writes, and rotates ``path`` to ``path.1``, ``path.2``… when it has grown too big."""

    def __init__(self, config: LogConfig) -> None:
        self._config = config
        self._attributes = b""
        self._last = ("", -1)
        self._tail = b""
        self._floor = Floor()
        self._missed = 0
        if config.attributes:
            dumped = json.dumps(config.attributes, separators=(",", ":"), ensure_ascii=False)
            self._attributes = b'"attrs":' + dumped.encode() + b","
        self._open()

    full = False

    def bind(self, loop: Loop, on_room: Callable[[], None]) -> None:
        """It never has to wait."""

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._config.path, flags, 0o640)
        self._size = os.fstat(self._fd).st_size

    def write(self, records: Iterable[LogRecord]) -> None:
        """Append the records. What the disk does not take is lost: the container goes on.

        So is what would take the last room on it; the log says where lines are missing.
        """
        batch: list[bytes] = []
        size = self._size
        limit = self._config.max_size
        for record in records:
            if self._fd == -1:
                self._reopen()
                size = self._size
            if limit > 0 and size >= limit:
                self._append(batch)
                batch = []
                if self._size >= limit:
                    self._rotate()
                size = self._size
            line = self._format(record)
            batch.append(line)
            size += len(line)
        self._append(batch)

    def _format(self, record: LogRecord) -> bytes:
        stream, line, time_ns, partial = record
        if (stream, time_ns) != self._last:
            # Lines that came together have all but their text in common.
            tail = f'","stream":"{stream}",'.encode() + self._attributes
            self._tail = tail + b'"time":"%s"}\n' % timestamp(time_ns).encode()
            self._last = (stream, time_ns)
        if line.translate(None, _PLAIN):
            line = quote(line)
        return b'{"log":"%s%s%s' % (line, b"" if partial else b"\\n", self._tail)

    def _append(self, batch: list[bytes]) -> None:
        data = b"".join(batch)
        if not data:
            return
        if self._fd == -1 or self._floor.is_reached(self._fd, len(data)):
            if not self._missed:
                self._write(self._note(_STOPPED))
            self._missed += len(batch)
            return
        if self._missed:
            data = self._note(_GOES_ON.format(lines=self._missed)) + data
            self._missed = 0
        self._write(data)

    def _note(self, text: str) -> bytes:
        """A line of our own in the container's log."""
        return self._format(LogRecord("stderr", text.encode(), time.time_ns()))

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError:
            # The disk is full. A line cut short must not tear the next one.
            done = data.rfind(b"\n", 0, done) + 1
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size + done)
        self._size += done

    def _rotate(self) -> None:
        config = self._config
        os.close(self._fd)
        suffix = ".gz" if config.compress else ""
        try:
            if config.max_file < 2:
                os.truncate(config.path, 0)
            else:
                for number in range(config.max_file - 1, 1, -1):
                    older, newer = f"{config.path}.{number}", f"{config.path}.{number - 1}"
                    if os.path.exists(newer + suffix):
                        os.rename(newer + suffix, older + suffix)
                os.rename(config.path, f"{config.path}.1")
                if config.compress:
                    compress(f"{config.path}.1")
        except OSError:
            pass  # the log grows over its limit rather than to be lost
        self._reopen()

    def _reopen(self) -> None:
        """Open again; while that cannot be done output is lost, and tried for at each write."""
        self._fd, self._size = -1, 0
        with contextlib.suppress(OSError):
            self._open()

    def close(self) -> None:
        """Close the file."""
        if self._fd != -1:
            os.close(self._fd)


def compress(path: str) -> None:
    """Replace ``path`` by ``path.gz``."""
    packer = zlib.compressobj(wbits=31)
    temporary = f"{path}.gz.tmp"
    with open(path, "rb") as reading, open(temporary, "wb") as writing:
        while chunk := reading.read(1 << 20):
            writing.write(packer.compress(chunk))
        writing.write(packer.flush())
    os.rename(temporary, f"{path}.gz")
    os.unlink(path)
