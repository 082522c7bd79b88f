"""Standard streams of this process connected to those of a container.

The main thread copies output, so that signal handlers run between two reads; a daemon thread
copies input, and nobody waits for it at the end.
"""

from __future__ import annotations

import os
import signal
import sys

from wherry.cli.errors import CliError
from wherry.cli.terminal import DetachFilter, RawTerminal, detach_sequence, size
from wherry.client.errors import ApiError, ClientError
from wherry.client.frames import STDERR, SYSTEM_ERROR, frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session
    from wherry.client.api import ApiClient, Hijacked
    from wherry.client.http import Response

_CHUNK = 32768
# Signals that mean something to this process itself, or that nobody can catch.
_OWN_SIGNALS = frozenset(
    (
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGURG,
        signal.SIGWINCH,
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGPROF,
    )
)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class Streams:
    """The traffic of one attached connection."""

    def __init__(self, connection: Hijacked, *, tty: bool, stdin: bool, keys: bytes) -> None:
        """``keys`` detach when typed on a terminal."""
        self._connection = connection
        self._tty = tty
        self._stdin = stdin
        self._filter = DetachFilter(keys)

    @property
    def detached(self) -> bool:
        """The user typed the keys that detach."""
        return self._filter.detached

    def copy(self) -> None:
        """Copy both ways until the container's output ends or the user detaches."""
        sys.stdout.flush()
        if self._stdin:
            import threading

            threading.Thread(target=self._copy_input, daemon=True).start()
        if self._tty:
            while data := self._connection.read_some():
                write_all(1, data)
            return
        for stream, data in frames(self._connection.read_some):
            if stream == SYSTEM_ERROR:
                raise CliError(f"error from daemon in stream: {data.decode('utf-8', 'replace')}")
            write_all(2 if stream == STDERR else 1, data)

    def _copy_input(self) -> None:
        try:
            while data := os.read(0, _CHUNK):
                if self._tty:
                    data = self._filter.feed(data)
                self._connection.write(data)
                if self._filter.detached:
                    self._connection.stream.shutdown()
                    return
        except OSError:
            return  # the container has ended, and with it the need for input
        self._connection.close_write()


class SignalProxy:
    """A context in which signals that this process receives go to the container."""

    def __init__(self, client: ApiClient, container: str, wanted: bool) -> None:
        self._client = client
        self._container = container
        self._wanted = wanted
        self._saved: dict[int, Any] = {}

    def __enter__(self) -> SignalProxy:
        if self._wanted:
            for number in signal.valid_signals() - _OWN_SIGNALS:
                if number < signal.SIGRTMIN:
                    self._saved[number] = signal.signal(number, self._forward)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)

    def _forward(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name.removeprefix("SIG")
        try:
            self._client.call("POST", f"/containers/{self._container}/kill", query={"signal": name})
        except ClientError:
            return  # it has ended meanwhile


class WindowSize:
    """A context in which the container's terminal has the size of the user's."""

    def __init__(self, client: ApiClient, path: str, wanted: bool, *, redraw: bool = False) -> None:
        """``path`` is ``/containers/ID/resize`` or ``/exec/ID/resize``.

        With ``redraw`` the size is changed at once, so that a program draws its screen again.
        """
        self._redraw = redraw
        self._client = client
        self._path = path
        self._wanted = wanted and os.isatty(1)
        self._saved: Any = None

    def __enter__(self) -> WindowSize:
        if self._wanted:
            self._saved = signal.signal(signal.SIGWINCH, lambda *_: self.send())
            if self._redraw:
                self.send(1)
            self.send()
        return self

    def __exit__(self, *_: object) -> None:
        if self._wanted:
            signal.signal(signal.SIGWINCH, self._saved)

    def send(self, more: int = 0) -> None:
        """Tell the size, ``more`` lines and columns than it is; a container that has ended
        already does not matter."""
        rows, columns = size()
        if not rows and not columns:
            return
        try:
            query = {"h": rows + more, "w": columns + more}
            self._client.call("POST", self._path, query=query)
        except ClientError:
            return


def register_wait(client: ApiClient, container: str, condition: str) -> Response:
    """Ask for the exit code before the container can exit; the answer is read later."""
    return client.request("POST", f"/containers/{container}/wait", query={"condition": condition})


def exit_code(session: Session, waiting: Response) -> int:
    """The exit code that a registered wait brings."""
    import json

    try:
        result = json.loads(waiting.read() or b"{}")
    finally:
        waiting.stream.close()
    if error := (result.get("Error") or {}).get("Message"):
        session.warn(f"Error waiting for container: {error}")
        return 125
    return int(result.get("StatusCode", 125))


def keys_of(session: Session, given: str) -> tuple[str, bytes]:
    """The detach keys as the daemon and as the terminal know them."""
    keys = given or session.config.text("detachKeys")
    return keys, detach_sequence(keys)


def run_attached(session: Session, options: Options, container: str, body: dict[str, Any]) -> int:
    """Attach to a created container, start it, and return its exit code."""
    client = session.client
    tty = bool(body["Tty"])
    streams = {name: body[f"Attach{name.capitalize()}"] for name in ("stdin", "stdout", "stderr")}
    keys, sequence = keys_of(session, options["detach-keys"])
    query: dict[str, Any] = {"stream": True, **{n: True for n, on in streams.items() if on}}
    if keys:
        query["detachKeys"] = keys
    with SignalProxy(client, container, options["sig-proxy"]):
        connection = client.hijack(f"/containers/{container}/attach", query=query)
        condition = "removed" if body["HostConfig"]["AutoRemove"] else "next-exit"
        waiting = register_wait(client, container, condition)
        return follow(
            session,
            container,
            Streams(connection, tty=tty, stdin=streams["stdin"], keys=sequence),
            waiting,
            tty=tty,
            raw=tty and streams["stdin"],
            removed=condition == "removed",
        )


def follow(
    session: Session,
    container: str,
    streams: Streams,
    waiting: Response,
    *,
    tty: bool,
    raw: bool,
    removed: bool,
) -> int:
    """Start an attached container and stay with it; returns its exit code, 0 when detached."""
    client = session.client
    try:
        client.call("POST", f"/containers/{container}/start")
    except ApiError:
        if removed:
            exit_code_quietly(waiting)
        raise
    with RawTerminal(raw), WindowSize(client, f"/containers/{container}/resize", tty):
        streams.copy()
    if streams.detached:
        return 0
    return exit_code(session, waiting)


def exit_code_quietly(waiting: Response) -> None:
    """Wait until a container that never ran is removed."""
    try:
        waiting.read()
    except ClientError:
        return
