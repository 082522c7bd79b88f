"""Wherry's own way to make a container's processes: all are forks of the shim."""

from __future__ import annotations

import socket

from wherry.linux.cgroups import Cgroup
from wherry.runtime import builder, execs, spawn
from wherry.runtime.backend import Started
from wherry.runtime.host import Host
from wherry.runtime.messages import Message
from wherry.runtime.processplan import parse_process


class OwnRuntime:
    """The `Backend` of containers that name no other runtime: builder, init and exec are forks."""

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
