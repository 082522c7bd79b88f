"""Sending a container's output to a log service, through a process of its own.

The shim must never wait for a service: it feeds a forked sender (`sender`) through a pipe.
While the pipe is full, records wait here; in ``blocking`` mode a full backlog makes the shim
stop reading the container's output, in ``non-blocking`` mode records are dropped then.

What is sent is kept in a local file too, so that ``logs`` works with every driver.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NoReturn

from wherry.linux import process
from wherry.runtime.bundle import LogConfig
from wherry.runtime.logdrivers import sender
from wherry.runtime.logdrivers.jsonfile import JsonFile
from wherry.runtime.logdrivers.options import parse_size
from wherry.runtime.logdrivers.record import LogRecord, LogSource
from wherry.runtime.loop import WRITE, Loop

_PIPE_SIZE = 1 << 20
_DEFAULT_BUFFER = "1m"
_CACHE_SIZE = 20 << 20
_CACHE_FILES = 5
_PATIENCE = 10
"""Seconds that a service gets, once the container has ended, to take what is left."""


class Remote:
    """A sender process and the backlog before it."""

    def __init__(self, config: LogConfig) -> None:
        self._pack = sender.pack
        self._blocking = config.options.get("mode", "blocking") != "non-blocking"
        size = config.options.get("max-buffer-size", _DEFAULT_BUFFER)
        self._limit = parse_size("max-buffer-size", size)
        self._cache = None
        if config.path and config.options.get("cache-disabled") != "true":
            kept = replace(config, max_size=_CACHE_SIZE, max_file=_CACHE_FILES, compress=True)
            self._cache = JsonFile(kept)
        self._pending: deque[bytes] = deque()
        self._pending_size = 0
        self._loop: Loop | None = None
        self._on_room: Callable[[], None] = lambda: None
        reading, self._pipe = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        if os.fork() == 0:
            _send(reading, config)
        os.close(reading)
        os.set_blocking(self._pipe, False)

    @property
    def full(self) -> bool:
        """Whether the container's output should not be read now."""
        return self._blocking and self._pending_size >= self._limit

    def bind(self, loop: Loop, on_room: Callable[[], None]) -> None:
        """Write on from ``loop``; ``on_room`` comes when a full backlog has room again."""
        self._loop, self._on_room = loop, on_room

    def write(self, records: Iterable[LogRecord]) -> None:
        """Queue the records."""
        records = list(records)
        if self._cache is not None:
            self._cache.write(records)
        waiting = bool(self._pending)
        for record in records:
            if self._pending_size >= self._limit and not self._blocking:
                continue
            frame = self._pack(record)
            self._pending.append(frame)
            self._pending_size += len(frame)
        if self._pending and not waiting:
            self._drain()
            if self._pending and self._loop is not None:
                self._loop.watch(self._pipe, WRITE, self._writable)

    def _writable(self) -> None:
        was_full = self.full
        self._drain()
        if not self._pending and self._loop is not None:
            self._loop.unwatch(self._pipe)
        if was_full and not self.full:
            self._on_room()

    def _drain(self) -> None:
        try:
            while self._pending:
                written = os.write(self._pipe, self._pending[0])
                self._pending_size -= written
                if written < len(self._pending[0]):
                    self._pending[0] = self._pending[0][written:]
                else:
                    self._pending.popleft()
        except BlockingIOError:
            return
        except OSError:  # the sender has died: its records are lost, the container goes on
            self._pending.clear()
            self._pending_size = 0

    def close(self) -> None:
        """Hand over what is left and let the sender finish by itself."""
        if self._cache is not None:
            self._cache.close()
        if self._loop is not None:
            self._loop.unwatch(self._pipe)
        if self._pending and os.fork() == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_PATIENCE)
            os.set_blocking(self._pipe, True)
            with contextlib.suppress(OSError):
                for frame in self._pending:
                    os.write(self._pipe, frame)
            os._exit(0)
        os.close(self._pipe)


def _send(reading: int, config: LogConfig) -> NoReturn:
    code = 1
    try:
        process.close_all_but({0, 1, 2, reading})
        process.set_name("wherry-log")
        source = LogSource(**{**_NOBODY, **config.source}, attributes=config.attributes)
        threading.Thread(target=_end_in_time, args=(reading,), daemon=True).start()
        with open(reading, "rb") as pipe:
            sender.run(pipe, config.driver, config.options, source)
        code = 0
    finally:
        os._exit(code)


def _end_in_time(reading: int) -> None:
    """End this process some time after the shim has: a service may stay away for ever."""
    hangup = select.poll()
    hangup.register(reading, 0)
    hangup.poll()
    time.sleep(_PATIENCE)
    os._exit(1)


_NOBODY = dict.fromkeys(
    (
        *("container_id", "container_name", "image_id", "image_name"),
        *("command", "created", "hostname", "tag"),
    ),
    "",
)
