"""What this host offers, asked once by trying: a kernel's version says too little."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Callable, Iterator

from wherry.errors import KernelError
from wherry.linux import capabilities, cgroups, mounts, process
from wherry.linux import seccomp as seccomp_profiles
from wherry.linux.idmap import IdRange, write_maps

_RANGE = (IdRange(0, 524288, 65536),)


def _in_child(action: Callable[[], None]) -> bool:
    """Whether ``action`` works, tried in a forked child that is thrown away."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


@contextlib.contextmanager
def _user_namespace() -> Iterator[int]:
    """A descriptor of a user namespace with a private range."""
    pid, pidfd = process.clone(process.CLONE_NEWUSER)
    if pid == 0:
        while True:
            signal.pause()
    try:
        write_maps(pid, _RANGE, _RANGE)
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        process.send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)


@functools.cache
def user_namespaces() -> bool:
    """Whether user namespaces can be made and given a private range of ids."""

    def try_it() -> None:
        with _user_namespace():
            pass

    return _in_child(try_it)


@functools.cache
def idmapped_mounts(path: str) -> bool:
    """Whether the file system of ``path`` can be mounted with another id map."""

    def try_it() -> None:
        with _user_namespace() as fd:
            tree = mounts.open_tree(path, recursive=False)
            mounts.set_attributes(tree, path, user_namespace=fd)

    return _in_child(try_it)


@functools.cache
def seccomp() -> bool:
    """Whether the kernel filters system calls, and libseccomp is there to make filters."""
    return os.path.exists("/proc/sys/kernel/seccomp/actions_avail") and seccomp_profiles.available()


@functools.cache
def selinux() -> bool:
    """Whether SELinux is on."""
    return os.path.exists("/sys/fs/selinux/enforce")


def cgroup_version() -> int:
    """1 (also for hybrid hosts) or 2."""
    return cgroups.discover().version


def has_capability(name: str) -> bool:
    """Whether this process holds a capability, e.g. ``CAP_SYS_RESOURCE``."""
    return bool(capabilities.permitted() >> capabilities.NUMBERS[name] & 1)


@functools.cache
def _control_file(controller: str, *names: str) -> bool:
    """Whether a cgroup below the root has one of the control files, found by making one."""
    group = cgroups.Cgroup(f"/wherry-probe-{os.getpid()}")
    directory = group.directory(controller)
    if directory is None:
        return False
    try:
        group.create()
        return any(os.path.exists(f"{directory}/{name}") for name in names)
    except KernelError:
        return False
    finally:
        with contextlib.suppress(KernelError):
            group.remove()


def swap_limit() -> bool:
    """Whether swap can be limited."""
    return _control_file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max")


def oom_kill_disable() -> bool:
    """Whether the OOM killer can be turned off for a cgroup (v1 only)."""
    return _control_file("memory", "memory.oom_control")


def cpu_quota() -> bool:
    """Whether CPU bandwidth can be limited."""
    return _control_file("cpu", "cpu.cfs_quota_us", "cpu.max")


def cpu_shares() -> bool:
    """Whether CPU time can be shared by weight."""
    return _control_file("cpu", "cpu.shares", "cpu.weight")


def cpuset() -> bool:
    """Whether containers can be bound to CPUs."""
    return _control_file("cpuset", "cpuset.cpus")


def pids_limit() -> bool:
    """Whether the number of tasks can be limited."""
    return _control_file("pids", "pids.max")
