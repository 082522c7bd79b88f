"""The daemon's side: starting the launcher, creating containers, talking to their shims."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.errors import NotFound, Unavailable
from wherry.linux import rlimits
from wherry.runtime import messages
from wherry.runtime.attach import AttachOptions
from wherry.runtime.bundle import Bundle, ExitStatus, StartFailed
from wherry.runtime.control import in_folder
from wherry.runtime.interpreter import sealed_interpreter
from wherry.runtime.messages import Message

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from wherry.runtime.launcher import main; "
_BOOT += "main(int(sys.argv[2]), sys.argv[3])"

EventHandler = Callable[["Shim", Message], None]


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """A client's socket, given away to the shim, and what the client wants."""

    sock: socket.socket
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    detach_keys: bytes = b""
    initial: bytes = b""
    framed: bool = False

    def options(self) -> Message:
        """The request without its socket, as a message."""
        options = AttachOptions(
            self.stdin, self.stdout, self.stderr, self.framed, self.detach_keys, self.initial
        )
        return {
            "stdin": options.stdin,
            "stdout": options.stdout,
            "stderr": options.stderr,
            "framed": options.framed,
            "detach_keys": options.detach_keys.decode("latin-1"),
            "initial": options.initial.decode("latin-1"),
        }


def _exit_status(message: Message) -> ExitStatus:
    return ExitStatus(
        message["code"], message["at"], message["oom_killed"], message.get("error", "")
    )


class Shim:
    """A connection to one container's shim."""

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._serial = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._buffer = bytearray()
        self._sending = asyncio.Lock()
        self._exit: asyncio.Future[ExitStatus] = self._loop.create_future()
        self._exec_exits: dict[str, asyncio.Future[ExitStatus]] = {}
        self._lost = False
        self.id = ""
        self.pid = 0
        self.shim_pid = 0
        self.state = ""
        self.warnings: list[str] = []
        self.execs: dict[str, Message] = {}
        """Execs at the time of `connect`, by id: ``pid``, ``note`` and ``exit`` (or None)."""
        self.on_event: EventHandler | None = None
        """Called with each event: ``oom``, ``detach`` (with ``exec_id`` for an exec)."""
        self._loop.add_reader(stream.fileno(), self._readable)

    @classmethod
    async def connect(cls, socket_path: str) -> Shim:
        """Take a living shim over again; what ended meanwhile is known at once.

        Raises `NotFound` when no shim answers there.
        """
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            folder, name = in_folder(socket_path)
            try:
                stream.connect(name)
            finally:
                os.close(folder)
        except OSError as error:
            stream.close()
            raise NotFound(f"no shim answers at {socket_path}: {error.strerror}") from None
        shim = cls(stream)
        shim._adopt(await shim._request("state"))
        return shim

    def _adopt(self, view: Message) -> None:
        self.id, self.pid, self.shim_pid = view["id"], view["pid"], view["shim_pid"]
        self.state, self.warnings = view["state"], view["warnings"]
        if view["exit"] is not None and not self._exit.done():
            self._exit.set_result(_exit_status(view["exit"]))
        self.execs = view["execs"]
        for exec_id, entry in self.execs.items():
            if entry["exit"] is not None:
                self._exec_exit(exec_id).set_result(_exit_status(entry["exit"]))

    # --- the connection

    def _readable(self) -> None:
        try:
            data = self._stream.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._closed()
            return
        self._buffer += data
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < end:
                return
            message = json.loads(bytes(self._buffer[4:end]))
            del self._buffer[:end]
            self._received(message)

    def _received(self, message: Message) -> None:
        if "event" in message:
            self._event(message)
            return
        answer = self._answers.pop(message["id"], None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(messages.failed(message["error"]))
        else:
            answer.set_result(message["ok"])

    def _event(self, message: Message) -> None:
        name = message["event"]
        if name == "exit":
            self.state = "stopped"
            if not self._exit.done():
                self._exit.set_result(_exit_status(message))
        elif name == "exec_exit":
            future = self._exec_exit(message["exec_id"])
            if not future.done():
                future.set_result(_exit_status(message))
        if self.on_event is not None:
            self.on_event(self, message)

    def _closed(self) -> None:
        if self._lost:
            return
        self._lost = True
        self._loop.remove_reader(self._stream.fileno())
        self._stream.close()
        error = Unavailable(f"the shim of container {self.id} has ended")
        for future in (*self._answers.values(), self._exit, *self._exec_exits.values()):
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be waiting: that is no mistake
        self._answers.clear()

    async def _request(self, op: str, fds: Sequence[int] = (), **values: Any) -> Any:
        if self._lost:
            raise Unavailable(f"the shim of container {self.id} has ended")
        self._serial += 1
        serial = self._serial
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._answers[serial] = answer
        data = messages.encode({"id": serial, "op": op, **values})
        try:
            async with self._sending:
                await _send(self._loop, self._stream, data, fds)
        except OSError:
            self._closed()
        return await answer

    def close(self) -> None:
        """End the conversation; the shim lives on."""
        self._closed()

    # --- the container

    async def ready(self) -> None:
        """Wait until the container's process has built its root; raises `StartFailed`."""
        await self._request("ready")

    async def start(self) -> None:
        """Let the container's process go on to execve; returns when that has happened.

        Raises `StartFailed`, with the container undone.
        """
        await self._request("start")
        self.state = "running"

    async def signal(self, number: int, exec_id: str | None = None) -> None:
        """Send a signal to the container's first process, or to an exec's."""
        await self._request("signal", signal=int(number), exec_id=exec_id)

    async def resize(self, rows: int, cols: int, exec_id: str | None = None) -> None:
        """Set the size of the container's terminal, or of an exec's."""
        await self._request("resize", rows=rows, columns=cols, exec_id=exec_id)

    async def attach(self, request: AttachRequest, exec_id: str | None = None) -> None:
        """Give a client's socket to the shim; it is closed on this side."""
        with request.sock:
            await self._request(
                "attach", [request.sock.fileno()], options=request.options(), exec_id=exec_id
            )

    async def exec(
        self,
        exec_id: str,
        process: Message,
        *,
        tty: bool,
        attach: AttachRequest | None = None,
        stdin: bool | None = None,
        seccomp: bool = True,
        note: Any = None,
    ) -> int:
        """Start one more process (an OCI process object); the result is its pid on the host.

        ``stdin`` tells whether its stdin stays open (default: as the client wants).
        ``seccomp=False`` leaves the container's filter out. ``note``, as JSON, is found in
        `execs` by whoever takes the shim over later. Raises `StartFailed`.
        """
        self._exec_exit(exec_id)
        wanted = stdin if stdin is not None else bool(attach and attach.stdin)
        with contextlib.ExitStack() as closing:
            fds = []
            if attach is not None:
                closing.enter_context(attach.sock)
                fds.append(attach.sock.fileno())
            try:
                pid: int = await self._request(
                    "exec",
                    fds,
                    exec_id=exec_id,
                    process=process,
                    tty=tty,
                    stdin=wanted,
                    seccomp=seccomp,
                    note=note,
                    attach=attach.options() if attach else None,
                )
            except BaseException:
                self._exec_exits.pop(exec_id, None)
                raise
        return pid

    async def wait(self) -> ExitStatus:
        """Wait for the end; raises `Unavailable` when the shim itself has died."""
        return await asyncio.shield(self._exit)

    async def wait_exec(self, exec_id: str) -> ExitStatus:
        """Wait for the end of an exec."""
        status = await asyncio.shield(self._exec_exit(exec_id))
        self._exec_exits.pop(exec_id, None)
        return status

    def exec_status(self, exec_id: str) -> ExitStatus | None:
        """How an exec ended, None as long as that has not been told."""
        future = self._exec_exits.get(exec_id)
        ended = future is not None and future.done() and future.exception() is None
        return future.result() if future is not None and ended else None

    def _exec_exit(self, exec_id: str) -> asyncio.Future[ExitStatus]:
        if exec_id not in self._exec_exits:
            self._exec_exits[exec_id] = self._loop.create_future()
        return self._exec_exits[exec_id]

    async def delete(self) -> None:
        """Take the container and its shim away; a container that runs is killed."""
        with contextlib.suppress(Unavailable):
            await self._request("delete")
        self._closed()


async def _send(
    loop: asyncio.AbstractEventLoop, stream: socket.socket, data: bytes, fds: Sequence[int]
) -> None:
    """Send bytes, with descriptors on the first of them."""
    while data:
        try:
            sent = socket.send_fds(stream, [data], fds) if fds else stream.send(data)
        except BlockingIOError:
            writable = loop.create_future()
            loop.add_writer(stream.fileno(), _set, writable)
            try:
                await writable
            finally:
                loop.remove_writer(stream.fileno())
            continue
        data, fds = data[sent:], ()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Launcher:
    """The launcher process of this daemon; started again when it has died."""

    def __init__(self, init: str = "") -> None:
        self._init = init
        self._process: asyncio.subprocess.Process | None = None
        self._requests: socket.socket | None = None
        self._sending = asyncio.Lock()

    @classmethod
    async def start(cls, init: str = "") -> Launcher:
        """Start a launcher; ``init`` is a program for ``--init`` instead of the built-in one."""
        launcher = cls(init)
        await launcher._spawn()
        return launcher

    async def _spawn(self) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with far:
            async with _interpreter() as (program, kept):
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-I", "-S", "-c", _BOOT, _PACKAGES, str(far.fileno()), self._init),
                    executable=program,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    pass_fds=[far.fileno(), *kept],
                    cwd="/",
                    env={"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
                )
        rlimits.give_back_open_files(self._process.pid)  # containers inherit the launcher's
        near.setblocking(False)
        self._requests = near

    @property
    def pid(self) -> int:
        """The launcher's process id."""
        return self._process.pid if self._process else 0

    async def create(self, bundle: Bundle, attach: Sequence[AttachRequest] = ()) -> Shim:
        """Make a container: its process is in its namespaces and waits for `Shim.start`.

        Raises `StartFailed` with everything undone.
        """
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        shim = Shim(near)
        shim.id = bundle.id
        head = {
            "id": 0,
            "container": bundle.head(),
            "attach": [request.options() for request in attach],
        }
        data = messages.encode(head) + messages.encode(bundle.to_json())
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        shim._answers[0] = answer
        fds = [far.fileno(), *(request.sock.fileno() for request in attach)]
        try:
            await self._launch(data, fds)
        except BaseException:
            shim.close()
            raise
        finally:
            far.close()
            for request in attach:
                request.sock.close()
        try:
            shim._adopt(await answer)
        except Unavailable:
            shim.close()
            raise StartFailed("the shim died while it made the container", "shim") from None
        except BaseException:
            shim.close()
            raise
        return shim

    async def _launch(self, data: bytes, fds: Sequence[int]) -> None:
        loop = asyncio.get_running_loop()
        async with self._sending:
            for attempt in (1, 2):
                if self._requests is None or (
                    self._process is not None and self._process.returncode is not None
                ):
                    await self._spawn()
                assert self._requests is not None
                try:
                    await _send(loop, self._requests, data, fds)
                    return
                except OSError:
                    self._requests.close()
                    self._requests = None
                    if attempt == 2:
                        raise

    async def close(self) -> None:
        """End the launcher; shims and containers live on."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._process is not None:
            await self._process.wait()
            self._process = None


@contextlib.asynccontextmanager
async def _interpreter() -> AsyncIterator[tuple[str, list[int]]]:
    """The program to run the launcher with: a sealed copy of the interpreter.

    No container that gets hold of it through /proc can change the host's file.
    """
    fd = sealed_interpreter()
    if fd is None:
        yield sys.executable, []
        return
    try:
        yield f"/proc/self/fd/{fd}", [fd]
    finally:
        os.close(fd)
