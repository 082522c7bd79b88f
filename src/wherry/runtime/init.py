"""The container's first process, from clone3 to execve.

It is a fork of the shim, alone in its new namespaces. Read `run` from top to bottom: that is
the whole story.
"""

from __future__ import annotations

import fcntl
import os
import socket
import termios
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from wherry.errors import KernelError
from wherry.fs.opening import open_in_root
from wherry.linux import keyring, mounts, process
from wherry.linux.cgroups import Entrance
from wherry.linux.syscalls import checked, libc, text
from wherry.runtime import become, messages
from wherry.runtime.bundle import StartFailed
from wherry.runtime.host import Host
from wherry.runtime.processplan import ProcessPlan
from wherry.runtime.rootbuild import Root
from wherry.runtime.rootplan import RootPlan
from wherry.runtime.specrules import sysctl_path


def _nothing() -> None:
    """No hook."""


@dataclass(frozen=True, slots=True)
class InitPlan:
    """All that init needs to know; it inherits it by being a fork.

    ``stdio`` gives descriptors to use as they are instead of new pipes. ``gate`` is a listening
    socket: whoever connects there says Go, instead of the shim. The two calls run hooks.
    """

    id: str
    root: RootPlan
    process: ProcessPlan
    user_namespace: bool
    cgroup_namespace: bool
    hostname: str
    domainname: str
    sysctls: Mapping[str, str]
    tty: bool
    open_stdin: bool
    host: Host
    stdio: tuple[int, int, int] | None = None
    gate: socket.socket | None = None
    before_pivot: Callable[[], None] = _nothing
    before_execve: Callable[[], None] = _nothing


def run(plan: InitPlan, channel: socket.socket, entrance: Entrance) -> NoReturn:
    """Be the container's first process; never returns."""
    try:
        _run(plan, channel, entrance)
    except messages.Closed:
        os._exit(1)  # the shim has gone
    except BaseException as error:
        report(channel, error)
    os._exit(1)


def _run(plan: InitPlan, channel: socket.socket, entrance: Entrance) -> None:
    process.set_dumpable(False)
    entrance.enter()
    entrance.close()
    messages.send_packet(channel, {"entered": True})
    _, sources = messages.receive_packet(channel)  # Proceed
    become.become_root(plan.user_namespace)
    if plan.cgroup_namespace:
        process.unshare(process.CLONE_NEWCGROUP)
    if plan.hostname:
        _set_name("hostname", libc.sethostname, plan.hostname)
    if plan.domainname:
        _set_name("domainname", libc.setdomainname, plan.domainname)
    root = Root(plan.root, sources)
    root.build()
    write_sysctls(plan.sysctls)
    plan.before_pivot()
    root.seal()
    ends = _take_stdio(plan, root)
    keyring.join_new_session(plan.id)
    _make_folder(plan.process.cwd)
    if plan.gate is not None:
        become.check(plan.process, plan.host)
    handles = [*ends, *([root.devpts] if root.devpts != -1 else [])]
    messages.send_packet(
        channel, {"ready": {"ends": len(ends), "devpts": root.devpts != -1}}, handles
    )
    keep = {*range(3 + plan.process.keep), channel.fileno()}
    if plan.gate is not None:
        keep.add(plan.gate.fileno())
    process.close_all_but(keep)
    if plan.gate is not None:
        channel = _pass_gate(plan.gate, channel)
    _go(plan, channel)


def _pass_gate(gate: socket.socket, channel: socket.socket) -> socket.socket:
    """Wait at the gate; who opens it takes the place of the maker, who may have gone."""
    channel.close()
    opened, _ = gate.accept()
    gate.close()
    return opened


def _go(plan: InitPlan, channel: socket.socket) -> None:
    try:
        messages.receive_packet(channel)  # Go
        plan.before_execve()
        become.execute(plan.process, plan.host)
    except messages.Closed:
        raise
    except BaseException as error:
        report(channel, error)
        os._exit(1)


def report(channel: socket.socket, error: BaseException) -> None:
    """Tell the shim why there will be no execve."""
    message = messages.failure(error)
    if not isinstance(error, (KernelError, OSError, StartFailed)):
        message["traceback"] = traceback.format_exc()
    try:
        messages.send_packet(channel, message)
    except OSError:
        return


def _set_name(what: str, function: Any, name: str) -> None:
    encoded = name.encode()
    checked(f"set {what}", name, function(text(encoded), len(encoded)))


def write_sysctls(sysctls: Mapping[str, str]) -> None:
    """Set kernel parameters of the new namespaces, through a procfs of our own making."""
    if not sysctls:
        return
    proc = mounts.new_filesystem("proc")
    try:
        for name, value in sysctls.items():
            path = f"sys/{sysctl_path(name)}"
            try:
                fd = open_in_root(proc, path, os.O_WRONLY, follow=False, cross_mounts=False)
                try:
                    os.write(fd, value.encode())
                finally:
                    os.close(fd)
            except (KernelError, OSError) as error:
                raise KernelError("write sysctl", name, error.errno or 0) from error
    finally:
        os.close(proc)


def _take_stdio(plan: InitPlan, root: Root) -> list[int]:
    """Put stdin, stdout and stderr in place; the result are the shim's ends of them."""
    if root.terminal is not None:
        master, slave = root.terminal
        own_terminal(slave)
        return [master]
    if plan.stdio is not None:
        install(plan.stdio)
        return []
    return make_pipes(plan.open_stdin)


def make_pipes(open_stdin: bool) -> list[int]:
    """New pipes as stdio; the other ends, stdin's first (when it is open).

    Made here and not outside, so that they belong to the container's user namespace.
    """
    if open_stdin:
        stdin, feed = os.pipe()
    else:
        stdin, feed = _open_null(), -1
    out, stdout = os.pipe()
    err, stderr = os.pipe()
    install((stdin, stdout, stderr))
    return [*([feed] if open_stdin else []), out, err]


def _open_null() -> int:
    """The null device of the container's own /dev; where there is none, a pipe at its end."""
    try:
        fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        if os.fstat(fd).st_rdev == os.makedev(1, 3):
            os.set_blocking(fd, True)
            return fd
        os.close(fd)
    except OSError:
        pass
    ended, feed = os.pipe()
    os.close(feed)
    return ended


def own_terminal(slave: int) -> None:
    """Make ``slave`` stdio and the session's terminal, ioctl_tty(2) TIOCSCTTY."""
    install((slave, slave, slave))
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def install(fds: tuple[int, int, int]) -> None:
    """Make three descriptors stdin, stdout and stderr."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number, inheritable=True)
    for fd in set(fds):
        if fd > 2:
            os.close(fd)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError:
        return  # entering it will say what is wrong
