"""The stdio of one process: its pipes or terminal, the clients attached to it, its log."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable

from wherry.runtime import rootbuild
from wherry.runtime.attach import AttachOptions, Client
from wherry.runtime.backlog import Backlog
from wherry.runtime.logdrivers.driver import LogDriver
from wherry.runtime.logdrivers.lines import LineCutter
from wherry.runtime.loop import READ, WRITE, Loop

_CHUNK = 1 << 16
_INPUT_HIGH_WATER = 1 << 18
_PATIENCE = 5.0
"""Seconds that a client with a full backlog may take nothing at all before it is dropped."""
_FLUSH_PATIENCE = 600.0
"""The same for a client of a container that has ended: it holds nothing but this process."""
_LATE_EXIT = 1.0
"""Seconds that an exec's process may live on after its output has ended, until clients hear."""


class Stdio:
    """Copies output to the log and to every client, and the clients' input to the process.

    What a client has not taken yet waits in its `Backlog`, with a file in ``directory``, so that
    a slow client slows nobody down. One with a full backlog is waited for as long as it takes
    something; one that has stopped reading is then dropped, so that it cannot hold the container.
    ``patient`` (exec, which has one client and no log) keeps little and waits for ever instead.

    The clients' streams end after ``drained`` was called: whoever saw the end of a stream can
    then ask for the exit status.
    """

    def __init__(
        self,
        loop: Loop,
        ends: list[int],
        *,
        tty: bool,
        stdin_open: bool,
        stdin_once: bool,
        log: LogDriver | None,
        patient: bool = False,
        directory: str = "",
        on_detach: Callable[[], object] = lambda: None,
    ) -> None:
        self._loop = loop
        self._tty = tty
        self._stdin_once = stdin_once
        self._log = log
        self._patient = patient
        self._directory = directory
        self._on_detach = on_detach
        self._clients: list[Client] = []
        self._input: deque[bytes] = deque()
        self._input_size = 0
        self._input_closing = False
        self._held = False
        self._on_drained: Callable[[], None] | None = None
        self._on_flushed: Callable[[], None] = lambda: None
        self._outputs: dict[int, str] = {}
        self._stdin = -1
        if tty:
            self._stdin = ends[0]
            self._outputs[ends[0]] = "stdout"
        else:
            rest = list(ends)
            if stdin_open:
                self._stdin = rest.pop(0)
            self._outputs = dict(zip(rest, ("stdout", "stderr"), strict=False))
        self._cutters = {name: LineCutter(name) for name in self._outputs.values()}
        for fd in ends:
            os.set_blocking(fd, False)
        if log is not None:
            log.bind(loop, self._room)
        self._watch_outputs()

    # --- output

    def _watch_outputs(self) -> None:
        for fd in self._outputs:
            self._loop.watch(fd, READ, lambda fd=fd: self._readable(fd))  # type: ignore[misc]

    def _readable(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal's last user has gone
            data = b""
        if not data:
            self._output_ended(fd)
            return
        stream = self._outputs[fd]
        if self._log is not None:
            self._log.write(self._cutters[stream].feed(data, time.time_ns()))
        for client in list(self._clients):
            client.output(stream, data)
        self._forget_ended()
        if self._crowded():
            self._hold()

    def _crowded(self) -> bool:
        return (self._log is not None and self._log.full) or any(c.full for c in self._clients)

    def _output_ended(self, fd: int) -> None:
        self._loop.unwatch(fd)
        stream = self._outputs.pop(fd)
        if self._log is not None:
            self._log.write(self._cutters[stream].finish(time.time_ns()))
        if fd != self._stdin:
            os.close(fd)
        else:
            self._close_input()
        if not self._outputs:
            self._all_ended()

    def _all_ended(self) -> None:
        if self._on_drained:
            drained, self._on_drained = self._on_drained, None
            drained()
        elif self._patient:  # the process is about to end, unless it is about to be a server
            self._loop.later(_LATE_EXIT, self._finish_clients)
            return
        self._finish_clients()

    def _finish_clients(self) -> None:
        for client in self._clients:
            client.finish()

    def _hold(self) -> None:
        if self._held:
            return
        self._held = True
        for fd in self._outputs:
            self._loop.unwatch(fd, READ)
        if not self._patient:
            before = {id(client): client.sent for client in self._clients}
            self._loop.later(_PATIENCE, lambda: self._lose_patience(before))

    def _lose_patience(self, before: dict[int, int]) -> None:
        if not self._held:
            return
        for client in list(self._clients):
            if client.full and client.sent == before.get(id(client)):
                client.drop()
        self._forget_ended()
        if self._held:
            now = {id(client): client.sent for client in self._clients}
            self._loop.later(_PATIENCE, lambda: self._lose_patience(now))

    def _room(self) -> None:
        self._forget_ended()
        if self._held and not self._crowded():
            self._held = False
            self._watch_outputs()
        if not self.flushing:
            self._on_flushed()

    def _forget_ended(self) -> None:
        self._clients = [client for client in self._clients if not client.ended]

    # --- clients

    def attach(self, sock: socket.socket, options: AttachOptions) -> None:
        """Serve one more client."""
        client: Client

        def input_ended(detached: bool) -> None:
            self._input_ended(client, detached)

        backlog = Backlog(self._directory)
        client = Client(self._loop, sock, options, self._feed, input_ended, self._room, backlog)
        self._clients.append(client)
        client.begin()
        if not self._outputs:
            client.finish()
        self._forget_ended()

    def _input_ended(self, client: Client, detached: bool) -> None:
        if detached:
            self._on_detach()
        elif client.options.stdin and self._stdin_once and not self._tty:
            self._input_closing = True
            if not self._input:
                self._close_input()

    # --- input

    def _feed(self, data: bytes) -> None:
        if self._stdin == -1 or self._input_closing:
            return
        if not self._input:
            self._loop.watch(self._stdin, WRITE, self._writable)
        self._input.append(data)
        self._input_size += len(data)
        if self._input_size >= _INPUT_HIGH_WATER:
            self._read_clients(False)

    def _writable(self) -> None:
        try:
            while self._input:
                written = os.write(self._stdin, self._input[0])
                self._input_size -= written
                if written < len(self._input[0]):
                    self._input[0] = self._input[0][written:]
                else:
                    self._input.popleft()
        except BlockingIOError:
            pass
        except OSError:  # nobody reads any more
            self._input_closing = True
            self._input.clear()
            self._input_size = 0
        if self._input_size < _INPUT_HIGH_WATER:
            self._read_clients(True)
        if not self._input:
            self._loop.unwatch(self._stdin, WRITE)
            if self._input_closing:
                self._close_input()

    def _read_clients(self, wanted: bool) -> None:
        for client in self._clients:
            if client.options.stdin:
                client.read_more(wanted)

    def _close_input(self) -> None:
        if self._stdin == -1 or self._stdin in self._outputs:
            return
        self._loop.unwatch(self._stdin)
        os.close(self._stdin)
        self._stdin = -1
        self._input.clear()
        self._input_size = 0
        self._read_clients(True)

    # --- life

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size; without a terminal there is nothing to set."""
        if self._tty and self._stdin != -1:
            rootbuild.set_size(self._stdin, rows, columns)

    def drain(self, patience: float | None, drained: Callable[[], None]) -> None:
        """The process has ended: call ``drained`` when its output has, or after ``patience`` s."""
        if not self._outputs:
            drained()
            self._finish_clients()
            return
        self._on_drained = drained
        if patience is not None:
            self._loop.later(patience, self._cut)

    def _cut(self) -> None:
        for fd in list(self._outputs):
            if fd in self._outputs:
                self._output_ended(fd)

    @property
    def flushing(self) -> bool:
        """Whether any client has still to take what the process wrote."""
        return any(client.flushing for client in self._clients)

    def flush(self, flushed: Callable[[], None]) -> None:
        """Call ``flushed`` when clients have gone; those that take nothing for long are dropped."""
        self._on_flushed = flushed
        self._await_progress({})

    def _await_progress(self, before: dict[int, int]) -> None:
        for client in list(self._clients):
            if client.sent == before.get(id(client)):
                client.drop()
        now = {id(client): client.sent for client in self._clients}
        self._loop.later(_FLUSH_PATIENCE, lambda: self._await_progress(now))

    def close(self) -> None:
        """Let go of everything, clients included."""
        self._on_drained = None
        for client in list(self._clients):
            client.finish()
        self._cut()
        self._close_input()
