"""The shim's control socket: requests in, answers and events out."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from wherry.errors import KernelError
from wherry.runtime import messages
from wherry.runtime.loop import READ, Loop
from wherry.runtime.messages import Message

_BACKLOG = 16
_PATIENCE = 5.0  # seconds for the rest of a message that has begun

Handler = Callable[["Connection", Message, "list[int]"], None]


def in_folder(path: str) -> tuple[int, str]:
    """A descriptor of the socket's folder and a name for the socket that is short enough.

    Socket addresses hold 107 bytes, paths more; through the descriptor every path is short.
    """
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return folder, f"/proc/self/fd/{folder}/{os.path.basename(path)}"


class Connection:
    """One daemon (or tool) that talks to the shim."""

    def __init__(self, control: Control, stream: socket.socket) -> None:
        self._control = control
        self.stream = stream
        stream.settimeout(_PATIENCE)

    def send(self, message: Message) -> bool:
        """Send a message; a side that does not take it has lost its connection."""
        try:
            self.stream.sendall(messages.encode(message))
        except OSError:
            self.close()
            return False
        return True

    def answer(self, request: Message, result: object = None) -> None:
        """The good answer to a request."""
        self.send({"id": request["id"], "ok": result})

    def refuse(self, request: Message, error: BaseException) -> None:
        """The bad answer to a request."""
        self.send({"id": request["id"], "error": messages.failure(error)})

    def close(self) -> None:
        """End the connection."""
        self._control.forget(self)


class Control:
    """All connections of one shim, and the socket where new ones come in."""

    def __init__(self, loop: Loop, handler: Handler) -> None:
        self._loop = loop
        self._handler = handler
        self._connections: list[Connection] = []
        self._listener: socket.socket | None = None
        self._path = ""

    def listen(self, path: str) -> None:
        """Take connections at ``path``; only root may connect."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder, name = in_folder(path)
        try:
            listener.bind(name)
            os.chmod(name, 0o600)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise KernelError("listen at", path, error.errno or 0) from error
        finally:
            os.close(folder)
        listener.setblocking(False)
        self._listener, self._path = listener, path
        self._loop.watch(listener.fileno(), READ, self._accept)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            stream, _ = self._listener.accept()
        except OSError:
            return
        self.adopt(stream)

    def adopt(self, stream: socket.socket) -> Connection:
        """Serve a connection that exists already."""
        connection = Connection(self, stream)
        self._connections.append(connection)
        self._loop.watch(stream.fileno(), READ, lambda: self._readable(connection))
        return connection

    def _readable(self, connection: Connection) -> None:
        try:
            message, fds = messages.receive(connection.stream)
        except (messages.Closed, OSError, ValueError):
            connection.close()
            return
        try:
            self._handler(connection, message, fds)
        except Exception as error:
            connection.refuse(message, error)

    def broadcast(self, message: Message) -> bool:
        """Send an event to everyone; whether anyone got it."""
        delivered = [connection.send(message) for connection in list(self._connections)]
        return any(delivered)

    def forget(self, connection: Connection) -> None:
        """Drop a connection."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._loop.unwatch(connection.stream.fileno())
            connection.stream.close()

    def unlisten(self) -> None:
        """Remove the socket; connections stay."""
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def close(self) -> None:
        """Remove the socket and end every connection."""
        self.unlisten()
        for connection in list(self._connections):
            connection.close()
