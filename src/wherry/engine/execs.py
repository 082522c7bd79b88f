"""Further processes in running containers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry import faults
from wherry.engine import detach, ids
from wherry.engine.config.codec import decode, encode
from wherry.engine.config.exec import ExecConfig
from wherry.engine.containers.container import Container
from wherry.engine.containers.liveness import needs_running
from wherry.engine.containers.services import Services
from wherry.engine.spec.runtimespec import capability_sets, process
from wherry.engine.spec.security import capabilities
from wherry.errors import Conflict, InvalidParameter, NotFound, Unavailable, WherryError
from wherry.runtime.bundle import StartFailed
from wherry.runtime.client import AttachRequest, Shim

_TO_BEGIN = 10
"""Seconds that a resize waits for an exec that is being started."""
_KEPT = 1024
"""Ended execs that can still be inspected."""


@dataclass
class Exec:
    """One exec; ``exit_code`` is None until it has ended."""

    id: str
    container: Container
    config: ExecConfig
    pid: int = 0
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)


class Execs:
    """All execs of an engine, by their full id."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._execs: dict[str, Exec] = {}

    async def _get(self, exec_id: str) -> Exec:
        found = self._execs.get(exec_id)
        if found is None:  # a shim may know it whose container is not yet taken over
            await self._services.adoption.all()
            found = self._execs.get(exec_id)
        if found is None or found.container.removed:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    async def create(self, reference: str, body: Mapping[str, Any]) -> str:
        """Prepare a process; raises Conflict when the container does not run."""
        config = decode(ExecConfig, body)
        if not config.cmd:
            raise InvalidParameter("No exec command specified")
        container = await self._services.settled(reference)
        for entry in config.env or ():
            if not entry or entry.startswith("="):
                raise InvalidParameter(f"invalid environment variable: {entry}")
        detach.parse_keys(config.detach_keys)
        _check_running(container, reference)
        entry_ = Exec(ids.new_id(), container, config)
        self._forget_old()
        self._execs[entry_.id] = entry_
        container.execs.append(entry_.id)
        self._publish(entry_, f"exec_create: {_shown(config.cmd)}")
        return entry_.id

    def _forget_old(self) -> None:
        if len(self._execs) >= _KEPT:
            for exec_id, entry in list(self._execs.items()):
                if entry.container.removed or (entry.started and not entry.running):
                    self._drop(exec_id)
                    if len(self._execs) < _KEPT:
                        return

    def _drop(self, exec_id: str) -> None:
        entry = self._execs.pop(exec_id)
        if exec_id in entry.container.execs:
            entry.container.execs.remove(exec_id)

    def _publish(self, entry: Exec, action: str, code: int | None = None) -> None:
        attributes = {"execID": entry.id}
        if code is not None:
            attributes["exitCode"] = str(code)
        self._services.publish(entry.container, action, attributes)

    async def attachable(self, exec_id: str, tty: bool) -> bool:
        """Whether its output is raw; raises NotFound and Conflict when it cannot be started."""
        entry = await self._get(exec_id)
        _check_startable(entry)
        return entry.config.tty

    async def start(
        self,
        exec_id: str,
        *,
        detach: bool,
        tty: bool = False,
        sock: socket.socket | None = None,
        initial: bytes = b"",
        console_size: Sequence[int] | None = None,
    ) -> None:
        """Start it; a client's ``sock`` is closed on this side.

        Raises NotFound, Conflict, InvalidParameter for a command that cannot be executed.
        """
        try:
            entry = await self._get(exec_id)
            shim = _check_startable(entry)
            entry.started = True
            attach = None if sock is None or detach else self._attach(entry, sock, initial)
            described = self._process(entry, console_size)
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        config = entry.config
        self._publish(entry, f"exec_start: {_shown(config.cmd or ())}")
        try:
            with needs_running(entry.container):
                entry.pid = await shim.exec(
                    exec_id,
                    described,
                    tty=config.tty,
                    attach=attach,
                    stdin=config.attach_stdin and attach is not None,
                    seccomp=not config.privileged,
                    note=encode(config),
                )
            faults.point("exec.started")
        except StartFailed as error:
            self._ended(entry, error.exit_code if error.exit_code != 125 else 126)
            raise _refusal(error) from error
        except WherryError:
            self._ended(entry, 126)
            raise
        entry.running = True
        entry.begun.set()
        self._services.spawn(self._watch(entry, shim), f"watching exec {exec_id}")

    def adopt(self, container: Container) -> None:
        """Know the execs of a container that a former engine started and its shim remembers."""
        shim = container.shim
        for exec_id, found in shim.execs.items() if shim is not None else ():
            if shim is None or found["note"] is None:  # a health check of the former engine
                continue
            config = decode(ExecConfig, found["note"])
            entry = Exec(exec_id, container, config, found["pid"], started=True)
            self._execs[exec_id] = entry
            if found["exit"] is not None:
                entry.exit_code = found["exit"]["code"]
                continue
            entry.running = True
            container.execs.append(exec_id)
            self._services.spawn(self._watch(entry, shim), f"watching exec {exec_id}")

    def _attach(self, entry: Exec, sock: socket.socket, initial: bytes) -> AttachRequest:
        config = entry.config
        return AttachRequest(
            sock,
            stdin=config.attach_stdin,
            stdout=config.attach_stdout,
            stderr=config.attach_stderr,
            detach_keys=detach.parse_keys(config.detach_keys) if config.tty else b"",
            initial=initial,
            framed=not config.tty,
        )

    def _process(self, entry: Exec, console_size: Sequence[int] | None) -> dict[str, Any]:
        """The OCI process: the container's own, with what the exec has of its own."""
        config, container = entry.config, entry.container
        given = container.spec
        if given is None:
            raise Conflict(f"container {container.id} is not running")
        described = process(given)
        base = dict(_named(item) for item in described["env"])
        if config.tty:
            base.setdefault("TERM", "TERM=xterm")
        for item in config.env or ():
            name, equals, _ = item.partition("=")
            if equals:
                base[name] = item
            else:
                base.pop(name, None)
        rows, columns = tuple(console_size or config.console_size or (0, 0))[:2]
        described |= {
            "args": list(config.cmd or ()),
            "env": list(base.values()),
            "cwd": config.working_dir or described["cwd"],
            "terminal": config.tty,
            "consoleSize": {"height": rows, "width": columns},
        }
        if config.user:
            described["user"] = {**described["user"], "username": config.user}
        if config.privileged:
            held = capabilities((), (), privileged=True, last=given.last_capability)
            sets = capability_sets(given.host, given.last_capability)
            described["capabilities"] = {
                name: (held if names else []) for name, names in sets.items()
            } | {"bounding": held, "effective": held, "permitted": held}
        return described

    async def _watch(self, entry: Exec, shim: Shim) -> None:
        try:
            status = await shim.wait_exec(entry.id)
        except Unavailable:
            if self._services.closing:
                return
            self._ended(entry, 137)
            return
        self._ended(entry, status.code)

    def _ended(self, entry: Exec, code: int) -> None:
        if entry.exit_code is not None:
            return
        entry.running, entry.exit_code = False, code
        entry.begun.set()
        if entry.id in entry.container.execs:
            entry.container.execs.remove(entry.id)
        self._publish(entry, "exec_die", code)

    async def inspect(self, exec_id: str) -> dict[str, Any]:
        """What is known of it.

        A client that was attached asks right after the streams' end. The shim has told of the
        process's end before that, though perhaps nobody had time to take note of it.
        """
        entry = await self._get(exec_id)
        if entry.running and entry.container.shim is not None:
            status = entry.container.shim.exec_status(exec_id)
            if status is not None:
                self._ended(entry, status.code)
        config = entry.config
        words = config.cmd or ("",)
        described: dict[str, Any] = {
            "tty": config.tty,
            "entrypoint": words[0],
            "arguments": list(words[1:]),
            "privileged": config.privileged,
        }
        if config.user:
            described["user"] = config.user
        return {
            "ID": entry.id,
            "Running": entry.running,
            "ExitCode": entry.exit_code,
            "ProcessConfig": described,
            "OpenStdin": config.attach_stdin,
            "OpenStderr": config.attach_stderr,
            "OpenStdout": config.attach_stdout,
            "CanRemove": entry.exit_code is not None,
            "ContainerID": entry.container.id,
            "DetachKeys": "".join(map(chr, detach.parse_keys(config.detach_keys)))
            if config.detach_keys
            else "",
            "Pid": entry.pid,
        }

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Tell its terminal its size.

        An attached client has its connection before the process runs: one that starts is awaited.
        """
        entry = await self._get(exec_id)
        if entry.started and not entry.running and entry.exit_code is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TO_BEGIN):
                    await entry.begun.wait()
        shim = entry.container.shim
        if not entry.running or shim is None:
            raise Conflict(f"Exec {exec_id} is not running")
        with needs_running(entry.container):
            await shim.resize(height, width, exec_id)


def _shown(command: Sequence[str]) -> str:
    """A command in events: Docker puts a space between program and arguments, even without any."""
    return f"{command[0]} {' '.join(command[1:])}" if command else " "


def _named(item: str) -> tuple[str, str]:
    return item.partition("=")[0], item


def _check_running(container: Container, reference: str) -> Shim:
    if container.state.status == "paused":
        raise Conflict(f"Container {reference} is paused, unpause the container before exec")
    if container.state.status == "restarting":
        raise Conflict(
            f"Container {container.id} is restarting, wait until the container is running"
        )
    if not container.state.alive or container.shim is None:
        raise Conflict(f"container {container.id} is not running")
    return container.shim


def _check_startable(entry: Exec) -> Shim:
    if entry.exit_code is not None:
        raise Conflict(f"Error: Exec command {entry.id} has already run")
    if entry.started:
        raise Conflict(f"Error: Exec command {entry.id} is already running")
    return _check_running(entry.container, entry.container.id)


def _refusal(error: StartFailed) -> WherryError:
    if error.step == "look up user":
        return InvalidParameter(str(error))
    text = f"OCI runtime exec failed: exec failed: unable to start container process: {error}"
    return InvalidParameter(text) if error.exit_code in (126, 127) else WherryError(text)
