"""Reading what a container wrote: which records, until when, and in which form."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote_plus

from wherry.engine.logfiles import LogFiles, LogRecord
from wherry.errors import InvalidParameter
from wherry.linux import inotify
from wherry.numbers import whole_number
from wherry.timestamps import rfc3339

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


def parse_tail(text: str | None) -> int | None:
    """The number of lines that ``tail`` asks for; None (all) for anything but a number."""
    return None if text is None else whole_number(text)


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

    They end where the log ends now; with ``follow`` it goes on until ``ended`` is set (the
    container has stopped and its log is complete) and all has been read. A log that does not exist
    is empty. Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        changed = stack.enter_context(_watching(path)) if options.follow else None
        files = LogFiles(path, follow=options.follow, since=options.since)
        stack.enter_context(contextlib.closing(files))
        await asyncio.to_thread(files.open, options.tail)
        while True:
            # Asked before reading: what is written before the end is then surely read.
            complete = changed is None or ended.is_set()
            if changed is not None:
                changed.clear()
            while batch := await asyncio.to_thread(files.more):
                wanted, past = _select(batch, options)
                if wanted:
                    yield wanted
                if past:
                    return
            if complete or changed is None or not await _more_comes(changed, ended, options.until):
                return


@contextlib.contextmanager
def _watching(path: str) -> Iterator[asyncio.Event | None]:
    """An event that is set when the folder of ``path`` changes; None when there is none."""
    try:
        watch = inotify.watch(os.path.dirname(path), _CHANGES)
    except FileNotFoundError:
        yield None
        return
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(watch, _on_change, watch, changed)
    try:
        yield changed
    finally:
        loop.remove_reader(watch)
        os.close(watch)


def _on_change(watch: int, changed: asyncio.Event) -> None:
    inotify.drain(watch)
    changed.set()


async def _more_comes(changed: asyncio.Event, ended: asyncio.Event, until: int | None) -> bool:
    """Wait for a change or the end; whether ``until`` has not passed by then."""
    awaited = {asyncio.ensure_future(event.wait()) for event in (changed, ended)}
    try:
        timeout = None if until is None else _seconds_left(until)
        await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in awaited:
            one.cancel()
    return until is None or _seconds_left(until) > 0


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
