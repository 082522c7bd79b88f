"""What the shim asks of whatever makes processes: Wherry's own runtime, or another OCI runtime."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Protocol

from wherry.linux import process
from wherry.linux.cgroups import Cgroup
from wherry.runtime import builder, execs, spawn
from wherry.runtime.host import Host
from wherry.runtime.messages import Message
from wherry.runtime.processplan import parse_process


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is the shim's child, and the outer ends of its stdio."""

    pid: int
    pidfd: int
    ends: list[int]


class Backend(Protocol):
    """One container's maker. Calls come in this order; each may raise `WherryError`."""

    def begin(self, bundle: bytes) -> None:
        """Start to make the container of a bundle in JSON."""

    def finish(self) -> spawn.Spawned:
        """Wait until its first process exists; with an error everything is undone."""

    def wait_ready(self) -> list[int]:
        """Wait until only execve is missing; the outer ends of its stdio."""

    def release(self) -> None:
        """Let it go on to execve; returns when that has happened."""

    def execute(self, request: Message) -> Started:
        """Start one more process."""

    def clean(self) -> None:
        """The container has ended: remove what the making left."""


class OwnRuntime:
    """Wherry's own way: builder, init and exec are forks of the shim."""

    def __init__(self, container: Message, host: Host) -> None:
        self._container = container
        self._host = host
        self._building: tuple[int, socket.socket]
        self._spawned: spawn.Spawned
        self._devpts = -1

    def begin(self, bundle: bytes) -> None:
        """Fork the builder."""
        self._building = builder.begin(bundle, self._host)

    def finish(self) -> spawn.Spawned:
        """Wait for the builder."""
        self._spawned = builder.finish(*self._building)
        return self._spawned

    def wait_ready(self) -> list[int]:
        """Wait for init."""
        ready = spawn.wait_ready(self._spawned)
        self._devpts = ready.devpts
        return ready.ends

    def release(self) -> None:
        """Say Go."""
        if self._spawned.channel is not None:
            spawn.release(self._spawned.channel)

    def execute(self, request: Message) -> Started:
        """Fork, and join the container's namespaces."""
        wanted = self._container["seccomp"] if request.get("seccomp", True) else None
        plan = execs.ExecPlan(
            container=self._container["id"],
            process=parse_process(request["process"], spawn.read_filter(wanted)),
            pidfd=self._spawned.pidfd,
            join_flags=self._spawned.join_flags,
            devpts=self._devpts,
            tty=bool(request.get("tty")),
            open_stdin=bool(request.get("stdin")),
            host=self._host,
        )
        return Started(*execs.start(plan, Cgroup(self._container["cgroup"])))

    def clean(self) -> None:
        """Nothing is left: mounts and namespaces end with their processes."""


def open_backend(container: Message, host: Host) -> Backend:
    """The backend that a bundle's head asks for."""
    if not container.get("runtime"):
        return OwnRuntime(container, host)
    # Imported here: only containers of another runtime pay for it.
    from wherry.runtime.foreign import ForeignRuntime

    process.set_subreaper()
    return ForeignRuntime(container, host.reaper)
