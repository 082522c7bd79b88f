"""Being told of OOM kills: a descriptor that becomes ready."""

from __future__ import annotations

import os

from wherry.errors import KernelError
from wherry.linux.cgroups import memory
from wherry.linux.cgroups.cgroup import Cgroup
from wherry.linux.cgroups.files import write


class OomWatch:
    """``fd`` is to be polled for ``events``; then call `acknowledge`.

    v1: an eventfd registered with cgroup.event_control. v2: memory.events, which polls as
    POLLPRI when it changes.
    """

    POLLIN = 1
    POLLPRI = 2

    def __init__(self, cgroup: Cgroup) -> None:
        self._v1 = cgroup.layout.v1_mount(memory.NAME) is not None
        directory = cgroup.directory(memory.NAME)
        if directory is None:
            raise KernelError("watch for OOM kills: no memory controller", cgroup.path, 2)
        if not self._v1:
            self.fd = os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            self.events = self.POLLPRI
            self.acknowledge()
            return
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.events = self.POLLIN
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            write(directory, "cgroup.event_control", f"{self.fd} {control}")
        finally:
            os.close(control)

    def acknowledge(self) -> None:
        """Make the descriptor quiet again."""
        if self._v1:
            os.read(self.fd, 8)
        else:
            os.pread(self.fd, 4096, 0)

    def close(self) -> None:
        """Stop watching."""
        os.close(self.fd)
