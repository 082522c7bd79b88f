"""One cgroup in all hierarchies of the host, behind one interface for v1, v2 and both."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.errors import InvalidParameter, KernelError
from wherry.linux.cgroups import (
    cpu,
    cpuacct,
    cpuset,
    devices,
    freezer,
    hugetlb,
    io,
    memory,
    network,
    pids,
    rdma,
)
from wherry.linux.cgroups.cpu import Throttling
from wherry.linux.cgroups.cpuacct import CpuUsage
from wherry.linux.cgroups.files import Setting, reader, table, write, write_all
from wherry.linux.cgroups.io import IoStats
from wherry.linux.cgroups.layout import Layout, discover
from wherry.linux.cgroups.memory import MemoryStats
from wherry.linux.cgroups.paths import clean
from wherry.linux.cgroups.pids import PidsStats

_SETTINGS_V1 = {
    memory.NAME: memory.settings_v1,
    cpu.NAME: cpu.settings_v1,
    cpuset.NAME: cpuset.settings,
    pids.NAME: pids.settings,
    devices.NAME: devices.settings_v1,
    io.NAME_V1: io.settings_v1,
    hugetlb.NAME: hugetlb.settings_v1,
    rdma.NAME: rdma.settings,
    network.NAME_CLASS: network.class_settings,
    network.NAME_PRIORITY: network.priority_settings,
}
_SETTINGS_V2 = {
    memory.NAME: memory.settings_v2,
    cpu.NAME: cpu.settings_v2,
    cpuset.NAME: cpuset.settings,
    pids.NAME: pids.settings,
    io.NAME_V2: io.settings_v2,
    hugetlb.NAME: hugetlb.settings_v2,
    rdma.NAME: rdma.settings,
}


@dataclass(frozen=True, slots=True)
class CgroupStats:
    """All counters of one cgroup."""

    cpu: CpuUsage
    throttling: Throttling
    memory: MemoryStats
    pids: PidsStats
    io: IoStats


@dataclass(frozen=True, slots=True)
class Entrance:
    """The open doors of a cgroup, for one process with one thread.

    To move *another* process, the kernel stops all forks and exits of the host, and waits some
    milliseconds before it can (``cgroup_threadgroup_rwsem``). It need not for a process that is
    born inside, clone3(2) CLONE_INTO_CGROUP, or for a thread that moves itself by writing 0 to
    ``tasks``, which only v1 has. ``unified`` is the directory to be born into, ``tasks`` are
    the files of v1 with their paths.
    """

    unified: int | None
    tasks: tuple[tuple[int, str], ...]

    def enter(self) -> None:
        """The calling thread, born in ``unified``, moves into the other hierarchies."""
        for fd, path in self.tasks:
            try:
                os.write(fd, b"0")
            except OSError as error:
                raise KernelError("join cgroup", path, error.errno or 0) from error

    def descriptors(self) -> list[int]:
        """All that is open."""
        doors = [fd for fd, _ in self.tasks]
        return doors if self.unified is None else [*doors, self.unified]

    def close(self) -> None:
        """Close the doors in this process."""
        for fd in self.descriptors():
            os.close(fd)


class Cgroup:
    """The cgroup ``path`` ("/wherry/<id>"), in every hierarchy of ``layout``."""

    def __init__(self, path: str, layout: Layout | None = None) -> None:
        self.path = clean(path)
        if self.path == "/":  # its processes are the host's: nobody may kill or limit them
            raise InvalidParameter("invalid cgroup path: the root of the hierarchy")
        self.layout = layout or discover()

    def directory(self, controller: str) -> str | None:
        """The directory that holds ``controller``'s files; None where the host has it not."""
        point = self.layout.v1_mount(controller)
        if point is None and controller in self.layout.controllers:
            point = self.layout.unified
        return point + self.path if point else None

    @property
    def unified(self) -> str | None:
        """The directory in the v2 tree."""
        return self.layout.unified + self.path if self.layout.unified else None

    def directories(self) -> list[str]:
        """The directory in each hierarchy."""
        return [point + self.path for point in self.layout.hierarchies()]

    def exists(self) -> bool:
        """Whether it is there in any hierarchy."""
        return any(os.path.isdir(directory) for directory in self.directories())

    def create(self) -> None:
        """Make the directories; those that are there already are used."""
        cpuset_point = self.layout.v1_mount("cpuset")
        for point in self.layout.hierarchies():
            if point == self.layout.unified:
                self._create_v2(point)
                continue
            directory = point
            for part in self.path.strip("/").split("/"):
                parent, directory = directory, f"{directory}/{part}"
                _make_directory(directory)
                if point == cpuset_point:  # another process may have just made it, and no more
                    cpuset.inherit_v1(parent, directory)

    def _create_v2(self, point: str) -> None:
        directory = point
        for part in self.path.strip("/").split("/"):
            _delegate(directory)
            directory = f"{directory}/{part}"
            _make_directory(directory)

    def apply(self, resources: Mapping[str, Any]) -> None:
        """Set ``linux.resources`` of an OCI spec."""
        for name, point in self.layout.v1:
            settings = _SETTINGS_V1.get(name)
            if settings:
                write_all(point + self.path, settings(resources))
        if self.unified:
            for name in self.layout.controllers:
                if name in _SETTINGS_V2 and not self.layout.v1_mount(name):
                    write_all(self.unified, _SETTINGS_V2[name](resources))
            if resources.get("devices") and not self.layout.v1_mount(devices.NAME):
                devices.attach_v2(self.unified, devices.rules(resources))
            extra = resources.get("unified") or {}
            write_all(self.unified, [Setting(key, value) for key, value in extra.items()])

    def open_entrance(self) -> Entrance:
        """The way in for a process that is yet to be made; close it afterwards."""
        with contextlib.ExitStack() as undo:
            paths = [directory for directory in self.directories() if directory != self.unified]
            doors = []
            for path in (f"{directory}/tasks" for directory in paths):
                doors.append((_open(path, os.O_WRONLY), path))
                undo.callback(os.close, doors[-1][0])
            unified = _open(self.unified, os.O_PATH | os.O_DIRECTORY) if self.unified else None
            undo.pop_all()
        return Entrance(unified, tuple(doors))

    def freeze(self) -> None:
        """Stop every process until `thaw`."""
        self._set_frozen(True)

    def thaw(self) -> None:
        """Let every process go on."""
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        v1 = self.directory(freezer.NAME)
        if v1:
            freezer.set_frozen_v1(v1, frozen)
        elif self.unified:
            freezer.set_frozen_v2(self.unified, frozen)

    def frozen(self) -> bool:
        """Whether the cgroup is frozen now."""
        v1 = self.directory(freezer.NAME)
        if v1:
            return (reader(v1)("freezer.state") or "").strip() in ("FROZEN", "FREEZING")
        return (
            bool(table(reader(self.unified)("cgroup.events")).get("frozen"))
            if (self.unified)
            else False
        )

    def pids(self) -> list[int]:
        """All processes in it and below it."""
        found: set[int] = set()
        for directory in self._populated_directories():
            for below, _, _ in os.walk(directory):
                content = reader(below)("cgroup.procs") or ""
                found.update(int(pid) for pid in content.split())
        return sorted(found)

    def _populated_directories(self) -> list[str]:
        preferred = self.directory(pids.NAME) or self.directory(freezer.NAME) or self.unified
        return [preferred] if preferred else self.directories()[:1]

    def kill(self) -> None:
        """SIGKILL to every process in it and below it."""
        if self.unified and os.path.exists(f"{self.unified}/cgroup.kill"):
            with contextlib.suppress(KernelError):
                write(self.unified, "cgroup.kill", "1")
        for _ in range(10):
            left = self.pids()
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            v1 = self.directory(freezer.NAME)
            if v1 and self.frozen():
                with contextlib.suppress(KernelError):
                    freezer.set_frozen_v1(v1, False)
            time.sleep(0.001)

    def stats(self) -> CgroupStats:
        """Read all counters."""
        read = {name: reader(point + self.path) for name, point in self.layout.v1}
        v2 = reader(self.unified) if self.unified else lambda name: None

        def of(name: str) -> tuple[bool, Any]:
            return (True, read[name]) if name in read else (False, v2)

        first, read_cpuacct = of(cpuacct.NAME)
        second, read_cpu = of(cpu.NAME)
        third, read_memory = of(memory.NAME)
        fourth, read_io = of(io.NAME_V1)
        return CgroupStats(
            cpu=cpuacct.usage_v1(read_cpuacct) if first else cpuacct.usage_v2(read_cpuacct),
            throttling=cpu.throttling_v1(read_cpu) if second else cpu.throttling_v2(read_cpu),
            memory=memory.stats_v1(read_memory) if third else memory.stats_v2(read_memory),
            pids=pids.stats(of(pids.NAME)[1]),
            io=io.stats_v1(read_io) if fourth else io.stats_v2(read_io),
        )

    def oom_kills(self) -> int:
        """How many of its processes the OOM killer took."""
        v1 = self.layout.v1_mount(memory.NAME)
        if v1:
            return memory.oom_kills_v1(reader(v1 + self.path))
        return memory.oom_kills_v2(reader(self.unified)) if self.unified else 0

    def remove(self) -> None:
        """Remove it and what was made below it; processes must have ended."""
        for directory in self.directories():
            _remove_tree(directory)


def make_room(name: str, layout: Layout | None = None) -> bool:
    """Let the v2 root that this process sees have child cgroups with controllers.

    Inside of a container that root is a cgroup like others, and one with processes may not give
    controllers to its children (cgroups(7), "no internal processes"): they are all moved into a
    child ``name``. Returns whether anything was moved.
    """
    layout = layout or discover()
    root = layout.unified
    # The true root of the tree has no cgroup.type, and the rule does not hold for it.
    if not root or not layout.controllers or not os.path.exists(f"{root}/cgroup.type"):
        return False
    read = reader(root)
    offered = set((read("cgroup.controllers") or "").split())
    missing = offered - set((read("cgroup.subtree_control") or "").split())
    try:
        # All at once: the few controllers that may be given would make the children invalid.
        if missing:
            write(root, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
        return False
    except KernelError as error:
        if error.errno != errno.EBUSY:
            return False
    _make_directory(f"{root}/{name}")
    moved = False
    for _ in range(10):  # those that are being born meanwhile are met in the next round
        found = (read("cgroup.procs") or "").split()
        if not found:
            break
        for pid in found:
            with contextlib.suppress(KernelError):
                write(f"{root}/{name}", "cgroup.procs", pid)
                moved = True
    _delegate(root)
    return moved


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open cgroup", path, error.errno or 0) from error


def _make_directory(directory: str) -> None:
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return
    except OSError as error:
        raise KernelError("create cgroup", directory, error.errno or 0) from error


def _delegate(directory: str) -> None:
    """Offer every controller of a v2 directory to its children."""
    read = reader(directory)
    enabled = set((read("cgroup.subtree_control") or "").split())
    missing = [n for n in (read("cgroup.controllers") or "").split() if n not in enabled]
    if not missing:
        return
    try:
        write(directory, "cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except KernelError:
        # One controller may refuse (a real-time task outside the root); the others must work.
        for name in missing:
            with contextlib.suppress(KernelError):
                write(directory, "cgroup.subtree_control", f"+{name}")


def _remove_tree(directory: str) -> None:
    """Remove a cgroup with all in it, however deep a container has nested them."""
    deadline = time.monotonic() + 5
    pending = [directory]
    while pending:
        try:
            os.rmdir(pending[-1])
            pending.pop()
            continue
        except FileNotFoundError:
            pending.pop()
            continue
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise KernelError("remove cgroup", pending[-1], error.errno or 0) from error
        children: list[str] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(pending[-1]) as entries:
            children = [entry.path for entry in entries if entry.is_dir()]
        pending += children
        if not children:
            time.sleep(0.001)  # the last task is still being reaped
