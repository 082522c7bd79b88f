"""One container's keeper: a small process that outlives the daemon.

It makes the container, owns its stdio, log and exit status, starts further processes in it,
and answers at a control socket. See `wherry.runtime.messages` for the conversation.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import time
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

from wherry.errors import NotFound, WherryError
from wherry.linux import process
from wherry.linux.cgroups import Cgroup
from wherry.linux.cgroups.oom import OomWatch
from wherry.runtime import spawn
from wherry.runtime.attach import AttachOptions
from wherry.runtime.backend import Backend
from wherry.runtime.bundle import ExitStatus, LogConfig, clear_exit, write_exit
from wherry.runtime.control import Connection, Control
from wherry.runtime.host import Host
from wherry.runtime.logdrivers.driver import LogDriver, open_driver
from wherry.runtime.loop import READ, Loop
from wherry.runtime.messages import Message
from wherry.runtime.own import OwnRuntime
from wherry.runtime.stdio import Stdio

_COLLECTING = (200, 2, 2)
"""Collect garbage early: a shim makes little, and for months; what is left of an exec must go."""

_EXEC_PATIENCE = 2.0
"""Seconds that an ended exec's leftover children may go on holding its output."""


_STRANGER_SECONDS = 0.01
"""Between two looks at what has ended, while a killed container goes down."""

_ENDED_EXECS = 16
"""Ended execs that are kept for a daemon that comes later and asks."""


@dataclass(slots=True)
class _Exec:
    """``note`` is the daemon's own, given back to the next daemon."""

    pid: int
    pidfd: int
    stdio: Stdio
    note: Any = None
    status: ExitStatus | None = None
    told: bool = False


class Shim:
    """The state of one shim process. Requests are methods named ``on_<op>``."""

    def __init__(self, container: Message, host: Host) -> None:
        self._id: str = container["id"]
        self._container = container
        self._cgroup = Cgroup(container["cgroup"])
        self._host = host
        self._loop = Loop(self._note)
        self._control = Control(self._loop, self._handle)
        self._backend: Backend
        self._log: LogDriver | None = None
        self._execs: dict[str, _Exec] = {}
        self._state = "created"
        self._status: ExitStatus | None = None
        self._oom_kills = 0
        self._oom_watch: OomWatch | None = None
        self._spawned: spawn.Spawned
        self._stdio: Stdio | None = None
        self._failure: WherryError | None = None
        self._waiting: list[tuple[socket.socket, AttachOptions]] = []
        self._strangers: dict[int, int] = {}

    def create(
        self, stream: socket.socket, request: Message, bundle: bytes, fds: list[int]
    ) -> None:
        """Make the container and answer the request that asked for it."""
        connection = self._control.adopt(stream)
        try:
            self._backend = _open_backend(self._container, self._host)
            self._backend.begin(bundle)
            self._prepare_outside()
        except BaseException as error:
            self._take_back()
            self._give_up(connection, request, error)
        try:
            self._spawned = self._backend.finish()
        except WherryError as error:
            self._give_up(connection, request, error)
        for options, fd in zip(request.get("attach") or (), fds, strict=True):
            self._waiting.append((socket.socket(fileno=fd), _attach_options(options)))
        if self._spawned.channel is None:
            self._ready()
        else:
            self._loop.watch(self._spawned.channel.fileno(), READ, self._ready)
        self._loop.watch(self._spawned.pidfd, READ, self._init_ended)
        self._watch_oom()
        connection.answer(request, self._view())

    def _prepare_outside(self) -> None:
        """What needs nothing of the container; done while the builder works."""
        clear_exit(self._container["directory"])
        self._log = open_driver(LogConfig(**self._container["log"]))
        self._control.listen(self._container["socket"])

    def _take_back(self) -> None:
        with contextlib.suppress(WherryError, AttributeError):
            spawn.kill(self._backend.finish().pid)
            self._cgroup.remove()

    def _give_up(self, connection: Connection, request: Message, error: BaseException) -> NoReturn:
        self._control.unlisten()
        connection.refuse(request, error)
        self._end()

    def _ready(self) -> None:
        """Init has built its root, or failed to: that is told to whoever starts it."""
        if self._stdio is not None or self._failure is not None:
            return
        if self._spawned.channel is not None:
            self._loop.unwatch(self._spawned.channel.fileno())
        try:
            ends = self._backend.wait_ready()
        except WherryError as error:
            self._failure = error
            return
        container = self._container
        self._stdio = Stdio(
            self._loop,
            ends,
            tty=container["tty"],
            stdin_open=container["open_stdin"],
            stdin_once=container["stdin_once"],
            log=self._log,
            directory=container["directory"],
            on_detach=lambda: self._event("detach"),
        )
        for sock, options in self._waiting:
            self._stdio.attach(sock, options)
        self._waiting.clear()

    def serve(self) -> None:
        """Serve until the container is deleted."""
        self._loop.run()

    def _view(self) -> Message:
        status = self._status
        return {
            "id": self._id,
            "pid": self._spawned.pid,
            "shim_pid": os.getpid(),
            "state": self._state,
            "warnings": self._spawned.warnings,
            "exit": None if status is None else _status_view(status),
            "execs": {
                exec_id: {
                    "pid": entry.pid,
                    "note": entry.note,
                    "exit": None if entry.status is None else _status_view(entry.status),
                }
                for exec_id, entry in self._execs.items()
            },
        }

    # --- requests

    def _handle(self, connection: Connection, request: Message, fds: list[int]) -> None:
        method = getattr(self, f"on_{request.get('op')}", None)
        if method is None:
            raise NotFound(f"the shim knows no operation {request.get('op')!r}")
        result = method(request, fds)
        if request["op"] == "delete":
            self._control.unlisten()
        connection.answer(request, result)
        if request["op"] == "delete":
            self._leave()

    def on_state(self, request: Message, fds: list[int]) -> Message:
        """Everything about the container and its execs."""
        return self._view()

    def on_ready(self, request: Message, fds: list[int]) -> None:
        """Wait until init has built its root, and tell when that went wrong."""
        self._ready()
        if self._failure is not None:
            raise self._failure

    def on_start(self, request: Message, fds: list[int]) -> None:
        """Let init go on to execve; when it cannot, the container is undone."""
        self._ready()
        try:
            if self._failure is not None:
                raise self._failure
            self._backend.release()
        except WherryError:
            self._state = "failed"
            self._loop.unwatch(self._spawned.pidfd)
            self._kill_first()
            if self._stdio is not None:
                self._stdio.close()
            self._remove_cgroup()
            raise
        self._state = "running"

    def on_signal(self, request: Message, fds: list[int]) -> None:
        """A signal to the container's first process, or to an exec's."""
        pidfd = self._spawned.pidfd
        if request.get("exec_id"):
            pidfd = self._exec(request["exec_id"]).pidfd
        elif self._status is not None:
            raise NotFound("the container has ended")
        process.send_signal(pidfd, request["signal"])

    def on_resize(self, request: Message, fds: list[int]) -> None:
        """The size of a terminal."""
        stdio = self._stdio_of(request)
        if stdio is not None:
            stdio.resize(request["rows"], request["columns"])

    def on_attach(self, request: Message, fds: list[int]) -> None:
        """One more client."""
        (fd,) = fds
        sock, options = socket.socket(fileno=fd), _attach_options(request["options"])
        stdio = self._stdio_of(request)
        if stdio is None:
            self._waiting.append((sock, options))
        else:
            stdio.attach(sock, options)

    def on_exec(self, request: Message, fds: list[int]) -> int:
        """One more process; the result is its pid."""
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket(fileno=fds[0])) if fds else None
            pid, stdio = self._start_exec(request)
            undo.pop_all()
        if sock is not None:
            stdio.attach(sock, _attach_options(request["attach"]))
        return pid

    def _start_exec(self, request: Message) -> tuple[int, Stdio]:
        if self._state != "running":
            raise NotFound("the container is not running")
        before = process.children()
        try:
            started = self._backend.execute(request)
        except BaseException:
            self._end_strangers(before)
            raise
        exec_id = request["exec_id"]
        stdio = Stdio(
            self._loop,
            started.ends,
            tty=bool(request.get("tty")),
            stdin_open=bool(request.get("stdin")),
            stdin_once=True,
            log=None,
            patient=True,
            on_detach=lambda: self._event("detach", exec_id=exec_id),
        )
        self._execs[exec_id] = _Exec(started.pid, started.pidfd, stdio, request.get("note"))
        self._loop.watch(started.pidfd, READ, lambda: self._exec_ended(exec_id))
        return started.pid, stdio

    def on_delete(self, request: Message, fds: list[int]) -> None:
        """Take everything away; the process ends after the answer, and its clients' last bytes."""
        if self._status is None and self._state != "failed":
            self._cgroup.kill()
            # A first process ends only when all others of its pid namespace have been reaped,
            # pid_namespaces(7), and the execs are children of ours.
            for entry in self._execs.values():
                if entry.pidfd != -1:
                    process.send_signal(entry.pidfd, signal.SIGKILL)
                    _reap(entry.pidfd)
            self._kill_first()
        self._remove_cgroup()

    def _exec(self, exec_id: str) -> _Exec:
        entry = self._execs.get(exec_id)
        if entry is None:
            raise NotFound(f"no such exec: {exec_id}")
        return entry

    def _stdio_of(self, request: Message) -> Stdio | None:
        exec_id = request.get("exec_id")
        return self._exec(exec_id).stdio if exec_id else self._stdio

    # --- what happens by itself

    def _note(self, error: Exception) -> None:
        """A mistake of ours must not end the container: it is written down."""
        note(self._container["directory"], error)

    def _event(self, name: str, **values: Any) -> bool:
        return self._control.broadcast({"event": name, **values})

    def _end_strangers(self, before: list[int]) -> None:
        """Kill and reap what a failed exec has left behind.

        It is a child of ours in the container's pid namespace, whose first process cannot end
        before all others have been reaped, pid_namespaces(7).
        """
        for pid in {*process.children()} - {*before}:
            pidfd = os.pidfd_open(pid)
            process.send_signal(pidfd, signal.SIGKILL)
            self._strangers[pidfd] = pid
            self._loop.watch(pidfd, READ, self._reap_strangers)

    def _reap_strangers(self) -> None:
        for pidfd, pid in list(self._strangers.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._loop.unwatch(pidfd)
                os.close(pidfd)
                del self._strangers[pidfd]

    def _kill_first(self) -> None:
        """Kill and reap the first process, once all that hold it up have been reaped."""
        pidfd = self._spawned.pidfd
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(pidfd, signal.SIGKILL)
        ended = select.poll()
        ended.register(pidfd, select.POLLIN)
        while not ended.poll(_STRANGER_SECONDS * 1000):
            self._reap_strangers()
        spawn.kill(self._spawned.pid)

    def _watch_oom(self) -> None:
        try:
            self._oom_watch = OomWatch(self._cgroup)
        except (WherryError, OSError):
            return  # the counters at the end still tell
        self._loop.watch(self._oom_watch.fd, self._oom_watch.events, self._oom)

    def _oom(self) -> None:
        if self._oom_watch is None:
            return
        self._oom_watch.acknowledge()
        kills = self._cgroup.oom_kills()
        if kills > self._oom_kills:
            self._oom_kills = kills
            self._event("oom")

    def _init_ended(self) -> None:
        self._loop.unwatch(self._spawned.pidfd)
        code = _reap(self._spawned.pidfd)
        at = time.time()
        cgroup = self._cgroup
        if not self._spawned.join_flags & process.CLONE_NEWPID:
            cgroup.kill()  # nobody else takes down what it left behind
        oom = cgroup.oom_kills() > 0
        if oom and not self._oom_kills:
            self._event("oom")
        status = ExitStatus(code, at, oom)
        if self._stdio is None:
            self._record(status)
        else:
            self._stdio.drain(None, lambda: self._record(status))

    def _record(self, status: ExitStatus) -> None:
        self._status = status
        self._state = "stopped"
        if self._log is not None:
            self._log.close()
        with contextlib.suppress(OSError):  # a full disk: whoever listens still hears of it
            write_exit(self._container["directory"], status)
        self._event("exit", **_status_view(status))
        self._remove_cgroup()

    def _exec_ended(self, exec_id: str) -> None:
        entry = self._execs[exec_id]
        self._loop.unwatch(entry.pidfd)
        status = ExitStatus(_reap(entry.pidfd), time.time())
        os.close(entry.pidfd)
        entry.pidfd = -1

        def drained() -> None:
            entry.status = status
            entry.told = self._event("exec_exit", exec_id=exec_id, **_status_view(status))
            self._forget_execs()

        entry.stdio.drain(_EXEC_PATIENCE, drained)

    def _forget_execs(self) -> None:
        """Let ended execs go that somebody has heard of: at once, or when there are many."""
        told = [exec_id for exec_id, entry in self._execs.items() if entry.told]
        kept = [exec_id for exec_id in told if self._execs[exec_id].note is not None]
        for exec_id in {*told} - {*kept[-_ENDED_EXECS:]}:
            del self._execs[exec_id]

    def _remove_cgroup(self) -> None:
        if self._oom_watch is not None:
            self._loop.unwatch(self._oom_watch.fd)
            self._oom_watch.close()
            self._oom_watch = None
        self._backend.clean()
        self._cgroup.remove()

    def _leave(self) -> None:
        """End as soon as every client has what the container wrote."""
        self._control.close()
        open_ = [self._stdio, *(entry.stdio for entry in self._execs.values())]
        flushing = [stdio for stdio in open_ if stdio is not None and stdio.flushing]

        def flushed() -> None:
            if not any(stdio.flushing for stdio in flushing):
                self._end()

        for stdio in flushing:
            stdio.flush(flushed)
        flushed()

    def _end(self) -> NoReturn:
        self._control.close()
        os._exit(0)


def _open_backend(container: Message, host: Host) -> Backend:
    """Whatever makes the processes that a bundle's head asks for."""
    if not container.get("runtime"):
        return OwnRuntime(container, host)
    # It brings subprocess, which every shim would carry for the few with another runtime.
    from wherry.runtime.foreign import ForeignRuntime

    process.set_subreaper()
    return ForeignRuntime(container, host.reaper)


def _reap(pidfd: int) -> int:
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    if result is None:
        return 255
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def _status_view(status: ExitStatus) -> Message:
    return {
        "code": status.code,
        "at": status.at,
        "oom_killed": status.oom_killed,
        "error": status.error,
    }


def _attach_options(values: Message) -> AttachOptions:
    return AttachOptions(
        stdin=values["stdin"],
        stdout=values["stdout"],
        stderr=values["stderr"],
        framed=values["framed"],
        detach_keys=values["detach_keys"].encode("latin-1"),
        initial=values["initial"].encode("latin-1"),
    )


def main(head: bytes, bundle: bytes, stream: socket.socket, fds: list[int], host: Host) -> NoReturn:
    """Be a shim; never returns. Runs in a fresh fork of the launcher."""
    request: Message = json.loads(head)
    directory = request["container"]["directory"]
    try:
        _settle({stream.fileno(), *fds})
        shim = Shim(request["container"], host)
        shim.create(stream, request, bundle, fds)
        shim.serve()
    except BaseException as error:
        note(directory, error)
        os._exit(1)
    os._exit(0)


def note(directory: str, error: BaseException) -> None:
    """Write an error that should not have happened to shim.log, for a bug report."""
    with contextlib.suppress(OSError), open(f"{directory}/shim.log", "a") as file:
        file.write("".join(traceback.format_exception(error)))


def _settle(keep: set[int]) -> None:
    os.setsid()
    os.chdir("/")
    os.umask(0)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    process.close_all_but({0, 1, 2, *keep})
    process.set_name("wherry-shim")
    gc.set_threshold(*_COLLECTING)
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
