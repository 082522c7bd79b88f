"""Reading what a container wrote: json-file logs with their rotated and compressed predecessors.

The shim writes ``<path>``, and on rotation ``<path>.1`` (newest) … ``<path>.N``, perhaps ending in
``.gz``. Each line is ``{"log": …, "stream": …, "time": …}``; a line of output longer than 16 KiB
is several records of which only the last ends with a newline.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import quote_plus

from wherry.errors import InvalidParameter
from wherry.linux import inotify
from wherry.timestamps import parse_rfc3339, rfc3339

_CHUNK = 1 << 18
_CHANGES = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_DELETE
_STREAM_TYPES = {"stdin": 0, "stdout": 1, "stderr": 2}


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What to read; ``since`` and ``until`` in nanoseconds since 1970, ``tail`` None for all."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since: int | None = None
    until: int | None = None
    timestamps: bool = False
    details: bool = False
    tail: int | None = None

    def __post_init__(self) -> None:
        if not (self.stdout or self.stderr):
            raise InvalidParameter("Bad parameters: you must choose at least one stream")

    def wants(self, record: LogRecord) -> bool:
        """Whether a record is of a wanted stream and not before ``since``."""
        wanted = self.stderr if record.stream == "stderr" else self.stdout
        return wanted and (self.since is None or record.time >= self.since)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record of a log; ``line`` keeps its newline, ``time`` is nanoseconds since 1970."""

    stream: str
    time: int
    line: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


def parse_tail(text: str | None) -> int | None:
    """The number of lines that ``tail`` asks for; None (all) for anything but a number."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return int(text)


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


def render(record: LogRecord, options: LogOptions) -> bytes:
    """The bytes that a reader gets for a record, with time and details when asked for."""
    prefix = b""
    if options.timestamps:
        prefix = rfc3339(record.time, padded=True).encode() + b" "
    if options.details:
        pairs = sorted(record.attributes.items())
        joined = ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)
        prefix += joined.encode() + b" "
    return prefix + record.line


def frame(stream: str, payload: bytes) -> bytes:
    """``payload`` with the 8-byte header of Docker's multiplexed stream."""
    return bytes((_STREAM_TYPES[stream], 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


async def read(
    path: str, options: LogOptions, ended: asyncio.Event
) -> AsyncIterator[list[LogRecord]]:
    """The wanted records of the log at ``path`` in batches, oldest first.

    With ``follow`` it goes on until ``ended`` is set (the container has stopped and its log is
    complete) and all has been read. A log that does not exist is empty. Raises OSError.
    """
    watch = -1
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    if options.follow:
        with contextlib.suppress(FileNotFoundError):
            watch = inotify.watch(os.path.dirname(path), _CHANGES)
            loop.add_reader(watch, _on_change, watch, changed)
    follower = _Follower(path)
    try:
        batch = await asyncio.to_thread(follower.start, options.tail)
        waiting = asyncio.ensure_future(ended.wait())
        try:
            while True:
                # Asked before reading: what is written before the end is then surely read.
                complete = ended.is_set() or not options.follow
                changed.clear()
                while True:
                    wanted, past = _select(batch, options)
                    if wanted:
                        yield wanted
                    if past:
                        return
                    if not (batch := await asyncio.to_thread(follower.more)):
                        break
                if complete or watch < 0:
                    return
                news = asyncio.ensure_future(changed.wait())
                timeout = None if options.until is None else _seconds_left(options.until)
                await asyncio.wait(
                    {news, waiting}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
                news.cancel()
                if timeout is not None and _seconds_left(options.until or 0) <= 0:
                    return
                batch = []
        finally:
            waiting.cancel()
    finally:
        if watch >= 0:
            loop.remove_reader(watch)
            os.close(watch)
        follower.close()


def _on_change(watch: int, changed: asyncio.Event) -> None:
    inotify.drain(watch)
    changed.set()


def _seconds_left(until: int) -> float:
    return max(0.0, (until - time.time_ns()) / 1e9)


def _select(batch: Iterable[LogRecord], options: LogOptions) -> tuple[list[LogRecord], bool]:
    """The wanted records, and whether ``until`` has passed."""
    wanted: list[LogRecord] = []
    for record in batch:
        if options.until is not None and record.time > options.until:
            return wanted, True
        if options.wants(record):
            wanted.append(record)
    return wanted, False


class _Follower:
    """Reads a chain of log files to its end, and on from there, across rotations."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._older: deque[BinaryIO] = deque()  # oldest first
        self._current: BinaryIO | None = None
        self._rest = b""
        self._last_time = -1  # of the latest record that was read
        self._seen = -1  # records of rotated files up to this time have been read before

    def start(self, tail: int | None) -> list[LogRecord]:
        """Open the chain; the last ``tail`` records, or with None the first part of all."""
        self._current = _open_one_of(self._path)
        for file in _open_rotated(self._path):
            if self._current is not None and _inode(file) == _inode(self._current):
                file.close()  # rotated since it was opened
            else:
                self._older.append(file)
        if tail is None:
            return self.more()
        return self._last(tail)

    def more(self) -> list[LogRecord]:
        """The next records; empty when there is nothing more now."""
        while self._older:
            file = self._older.popleft()
            lines = (self._rest + _read_rest(file)).split(b"\n")
            self._rest = b""
            if self._older or self._current is not None:
                file.close()
            else:
                self._current = file  # still the newest that is known
            records = _decoded(lines[:-1])
            if new := [record for record in records if record.time > self._seen]:
                return self._noted(new)
        while True:
            if self._current is None:
                self._current = _open_one_of(self._path)
                if self._current is None:
                    return []
            data = self._current.read(_CHUNK)
            if data:
                *lines, self._rest = (self._rest + data).split(b"\n")
                if records := _decoded(lines):
                    return self._noted(records)
            else:
                return self.more() if self._rotate() else []

    def close(self) -> None:
        for file in (*self._older, self._current):
            if file is not None:
                file.close()

    def _rotate(self) -> bool:
        """Line up the newer files when the one just read to its end was rotated away."""
        assert self._current is not None
        own = _inode(self._current)
        newest = _open_one_of(self._path)
        if newest is not None and _inode(newest) == own:
            newest.close()
            return False
        newer = _open_rotated(self._path)
        inodes = [_inode(file) for file in newer]
        if own in inodes:
            position = inodes.index(own) + 1
            for known in newer[:position]:
                known.close()
            newer = newer[position:]
        else:  # compressed or removed: go by the time of the records
            self._seen = self._last_time
        if newest is not None and newer and _inode(newer[-1]) == _inode(newest):
            newer.pop().close()
        if newest is None and not newer:
            return False
        # The one just read may have grown between the last read and the rotation.
        self._older = deque([self._current, *newer])
        self._current = newest
        return True

    def _last(self, count: int) -> list[LogRecord]:
        lines: list[bytes] = []
        if self._current is not None:
            end = self._current.seek(0, io.SEEK_END)
            lines, self._rest = _last_lines(self._current, end, count)
            self._current.seek(end)
        while self._older and len(lines) < count:
            with self._older.pop() as file:
                whole = _read_rest(file).split(b"\n")[:-1]
            lines = whole[-(count - len(lines)) :] + lines
        while self._older:
            self._older.pop().close()
        return self._noted(_decoded(lines))

    def _noted(self, records: list[LogRecord]) -> list[LogRecord]:
        if records:
            self._last_time = records[-1].time
        return records


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _open_rotated(path: str) -> list[BinaryIO]:
    """The rotated predecessors of ``path``, opened, oldest first.

    They are opened from the newest on: a rotation meanwhile moves files to higher numbers, where
    they are met again and known by their inode, and none is passed over.
    """
    files: list[BinaryIO] = []
    inodes: set[int] = set()
    number = missing = 0
    while missing < 2:  # a rotation that is going on leaves a gap of one
        number += 1
        file = _open_one_of(f"{path}.{number}", f"{path}.{number}.gz")
        if file is None:
            missing += 1
            continue
        missing = 0
        if (inode := _inode(file)) in inodes:
            file.close()
            continue
        inodes.add(inode)
        files.insert(0, file)
    return files


def _open_one_of(*paths: str) -> BinaryIO | None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            return open(path, "rb")
    return None


def _read_rest(file: BinaryIO) -> bytes:
    """The rest of an open file, unpacked where it is compressed."""
    data = file.read()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def _decoded(lines: Iterable[bytes]) -> list[LogRecord]:
    return [record for line in lines if line and (record := decode(line))]


def _last_lines(file: BinaryIO, end: int, count: int) -> tuple[list[bytes], bytes]:
    """The last ``count`` complete lines before ``end``, and the incomplete line after them."""
    data, position = b"", end
    while position and data.count(b"\n") <= count:
        step = min(_CHUNK, position)
        position -= step
        file.seek(position)
        data = file.read(step) + data
    *lines, rest = data.split(b"\n")
    if position:
        lines = lines[1:]  # its beginning was not read
    return lines[-count:] if count else [], rest
