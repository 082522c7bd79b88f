"""start, kill, delete, pause, resume: one function a command."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from wherry.errors import Conflict, InvalidParameter, WherryError
from wherry.linux.cgroups import Cgroup
from wherry.numbers import whole_number
from wherry.runtime import spawn
from wherry.runtime.bundle import StartFailed
from wherry.runtime.control import in_folder
from wherry.runtime.oci import hooks
from wherry.runtime.oci.state import Container

_PATIENCE = 10.0


def start(container: Container) -> None:
    """Let a created container's process run; raises `StartFailed` when it cannot."""
    status = container.status()
    if status == "stopped":
        raise Conflict("cannot start a container that has stopped")
    if status != "created":
        raise Conflict("cannot start an already running container")
    gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder, name = in_folder(container.gate)
    try:
        gate.connect(name)
    finally:
        os.close(folder)
    spawn.release(gate)
    os.unlink(container.gate)
    _poststart(container)


def _poststart(container: Container) -> None:
    try:
        hooks.run("poststart", container.spec().get("hooks") or {}, container.view())
    except StartFailed:
        _signal(container.pid, signal.SIGKILL)
        raise


def parse_signal(text: str) -> int:
    """``9``, ``KILL``, ``SIGKILL``, ``RTMIN+3`` as a number."""
    given = whole_number(text)
    if given is not None:
        number = given
    else:
        name = text.upper().removeprefix("SIG")
        base, plus, offset = name.partition("+")
        behind = whole_number(offset)
        if plus and base == "RTMIN" and behind is not None:
            number = signal.SIGRTMIN + behind
        else:
            found = getattr(signal, f"SIG{name}", None)
            if not isinstance(found, signal.Signals):
                raise InvalidParameter(f"unknown signal {text!r}")
            number = int(found)
    if not 0 <= number < signal.NSIG:
        raise InvalidParameter(f"unknown signal {text!r}")
    return number


def kill(container: Container, number: int, *, everyone: bool = False) -> None:
    """Send a signal to the first process, or to every process of the container."""
    if everyone:
        for pid in Cgroup(container.cgroup).pids():
            _signal(pid, number)
        return
    if container.status() == "stopped":
        raise Conflict("container not running")
    _signal(container.pid, number)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def delete(container: Container, *, force: bool = False) -> None:
    """Take a container away; one that runs only with ``force``."""
    group = Cgroup(container.cgroup)
    status = container.status()
    if status not in ("stopped", "created") and not force:
        raise Conflict(f"cannot delete container {container.id} that is not stopped: {status}")
    if status != "stopped":
        _signal(container.pid, signal.SIGKILL)
    group.kill()
    deadline = time.monotonic() + _PATIENCE
    while container.status() != "stopped" and time.monotonic() < deadline:
        time.sleep(0.002)
    group.remove()
    view = container.view()
    with contextlib.suppress(WherryError):  # the container is gone whatever a hook says
        hooks.run("poststop", container.spec().get("hooks") or {}, view)
    container.forget()


def pause(container: Container) -> None:
    """Freeze every process."""
    if container.status() not in ("running", "created"):
        raise Conflict("container not running")
    Cgroup(container.cgroup).freeze()


def resume(container: Container) -> None:
    """Let every process go on."""
    if container.status() != "paused":
        raise Conflict("container not paused")
    Cgroup(container.cgroup).thaw()
