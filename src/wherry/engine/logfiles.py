"""A container's log on disk: the current file with its rotated and compressed predecessors.

The shim writes ``<path>``, and on rotation ``<path>.1`` (newest) … ``<path>.N``, perhaps ending in
``.gz``. Each line is ``{"log": …, "stream": …, "time": …}``; a line of output longer than 16 KiB
is several records of which only the last ends with a newline.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from wherry.errors import InvalidParameter
from wherry.timestamps import parse_rfc3339, rfc3339

_CHUNK = 1 << 18
_TIME = b'"time":"'
_SECOND = len("2026-01-02T03:04:05")
_MAGIC = b"\x1f\x8b"  # of gzip, RFC 1952


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of a log; ``line`` keeps its newline, ``time`` is nanoseconds since 1970."""

    stream: str
    time: int
    line: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


def decode(line: bytes) -> LogRecord | None:
    """A record from its line in the file; None for a line that a crash left torn."""
    try:
        data = json.loads(line)
        return LogRecord(
            data.get("stream", "stdout"),
            parse_rfc3339(data["time"]),
            data.get("log", "").encode("utf-8", "surrogateescape"),
            data.get("attrs") or {},
        )
    except (ValueError, KeyError, TypeError, AttributeError, InvalidParameter):
        return None


class _Part:
    """One open file of a log, read from its beginning or from its last lines on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        status = os.fstat(file.fileno())
        self.inode, self.changed = status.st_ino, status.st_mtime_ns
        packed = os.pread(file.fileno(), len(_MAGIC), 0) == _MAGIC
        self._unpacked = gzip.GzipFile(fileobj=file) if packed else None
        self._position = 0
        self._end: int | None = None

    def end_here(self) -> None:
        """Read no more than what the file has now."""
        if self._unpacked is None:
            self._end = os.fstat(self._file.fileno()).st_size

    def read(self) -> bytes:
        """The next piece; empty at the end, which may move on."""
        if self._unpacked is not None:
            try:
                return self._unpacked.read(_CHUNK)
            except (EOFError, OSError, zlib.error):  # a crash left it incomplete
                return b""
        size = _CHUNK if self._end is None else min(_CHUNK, self._end - self._position)
        data = os.pread(self._file.fileno(), size, self._position)
        self._position += len(data)
        return data

    def was_emptied(self) -> bool:
        """Whether it was cut to nothing, as a log of one file is; begins anew then."""
        if self._unpacked or os.fstat(self._file.fileno()).st_size >= self._position:
            return False
        self._position = 0
        return True

    def keep_last(self, count: int) -> int:
        """Leave only the last ``count`` complete lines to be read; how many there were of them."""
        if self._unpacked is not None:
            return self._keep_last_unpacked(count)
        descriptor = self._file.fileno()
        position = os.fstat(descriptor).st_size if self._end is None else self._end
        # The line before the last ones ends with the newline that is passed next.
        passed = 0
        while position:
            start = max(0, position - _CHUNK)
            block = os.pread(descriptor, position - start, start)
            here = block.count(b"\n")
            if passed + here > count:
                at = len(block)
                for _ in range(count + 1 - passed):
                    at = block.rindex(b"\n", 0, at)
                self._position = start + at + 1
                return count
            passed += here
            position = start
        self._position = 0
        return passed

    def _keep_last_unpacked(self, count: int) -> int:
        assert self._unpacked is not None
        total = 0
        while data := self.read():
            total += data.count(b"\n")
        self._unpacked.seek(0)
        with contextlib.suppress(EOFError, OSError, zlib.error):
            for _ in range(total - count):
                self._unpacked.readline()
        return min(count, total)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LogFiles:
    """Reads a log to its end, and on from there, across rotations.

    With ``follow`` the end moves on; else it is where the log ended when it was opened. Records
    before the second of ``since`` (nanoseconds since 1970) may be left out.
    """

    def __init__(self, path: str, *, follow: bool, since: int | None = None) -> None:
        self._path = path
        self._follow = follow
        self._oldest = since or 0  # of files, by their last change
        self._since = b"" if since is None else rfc3339(since)[:_SECOND].encode()
        self._older: deque[_Part] = deque()  # oldest first
        self._current: _Part | None = None
        self._rest = b""
        self._last_time = -1  # of the latest record that was read
        self._seen = -1  # records of rotated files up to this time have been read before

    def open(self, tail: int | None = None) -> None:
        """Open all files, to be read whole or from the last ``tail`` records on.

        Raises OSError.
        """
        self._current = _open_one_of(self._path)
        if self._current is not None and not self._follow:
            self._current.end_here()
        for part in _open_rotated(self._path):
            rotated_now = self._current is not None and part.inode == self._current.inode
            if rotated_now or part.changed < self._oldest:
                part.close()
            else:
                self._older.append(part)
        if tail is not None:
            self._keep_last(tail)

    def _keep_last(self, count: int) -> None:
        missing = count
        if self._current is not None:
            missing -= self._current.keep_last(missing)
        for part in reversed(self._older):
            if missing:
                missing -= part.keep_last(missing)
            else:
                part.keep_last(0)

    def more(self) -> list[LogRecord]:
        """The next records; empty when there is nothing more now."""
        while (part := self._next()) is not None:
            data = part.read()
            if data:
                *lines, self._rest = (self._rest + data).split(b"\n")
                records = self._decoded(lines)
                if part is not self._current:
                    records = [record for record in records if record.time > self._seen]
                if records:
                    self._last_time = records[-1].time
                    return records
            elif self._older:
                self._finish(self._older.popleft())
            elif not self._follow:
                break
            elif part.was_emptied():
                self._rest = b""
            elif not self._rotate():
                break
        return []

    def _next(self) -> _Part | None:
        if self._older:
            return self._older[0]
        if self._current is None and self._follow:
            self._current = _open_one_of(self._path)
        return self._current

    def _finish(self, part: _Part) -> None:
        """A rotated file was read to its end; what is torn there has no continuation."""
        self._rest = b""
        if self._older or self._current is not None or not self._follow:
            part.close()
        else:
            self._current = part  # still the newest that is known

    def _decoded(self, lines: Iterable[bytes]) -> list[LogRecord]:
        if self._since:  # most are told apart by their text, which saves decoding them
            lines = [line for line in lines if not self._is_before(line)]
        return [record for line in lines if line and (record := decode(line))]

    def _is_before(self, line: bytes) -> bool:
        """Whether the line's time, its last field, is in an earlier second than ``since``."""
        at = line.rfind(_TIME) + len(_TIME)
        return at >= len(_TIME) and line[at : at + _SECOND] < self._since

    def close(self) -> None:
        """Close all files."""
        for part in (*self._older, self._current):
            if part is not None:
                part.close()

    def _rotate(self) -> bool:
        """Line up the newer files when the one just read to its end was rotated away."""
        assert self._current is not None
        own = self._current.inode
        newest = _open_one_of(self._path)
        if newest is not None and newest.inode == own:
            newest.close()
            return False
        newer = _open_rotated(self._path)
        inodes = [part.inode for part in newer]
        if own in inodes:
            position = inodes.index(own) + 1
            for known in newer[:position]:
                known.close()
            newer = newer[position:]
        else:  # compressed or removed: go by the time of the records
            self._seen = self._last_time
        if newest is not None and newer and newer[-1].inode == newest.inode:
            newer.pop().close()
        if newest is None and not newer:
            return False
        # The one just read may have grown between the last read and the rotation.
        self._older = deque([self._current, *newer])
        self._current = newest
        return True


def _open_rotated(path: str) -> list[_Part]:
    """The rotated predecessors of ``path``, opened, oldest first.

    They are opened from the newest on: a rotation meanwhile moves files to higher numbers, where
    they are met again and known by their inode, and none is passed over.
    """
    parts: list[_Part] = []
    inodes: set[int] = set()
    number = missing = 0
    while missing < 2:  # a rotation that is going on leaves a gap of one
        number += 1
        part = _open_one_of(f"{path}.{number}", f"{path}.{number}.gz")
        if part is None:
            missing += 1
            continue
        missing = 0
        if part.inode in inodes:
            part.close()
            continue
        inodes.add(part.inode)
        parts.append(part)
    parts.reverse()
    return parts


def _open_one_of(*paths: str) -> _Part | None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            return _Part(open(path, "rb"))
    return None
