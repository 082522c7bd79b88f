"""A further process in a running container: a fork of the shim that joins its namespaces."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from typing import NoReturn

from wherry.errors import KernelError
from wherry.linux import keyring, process
from wherry.linux.cgroups import Cgroup, Entrance
from wherry.runtime import become, init, messages, rootbuild, spawn
from wherry.runtime.bundle import StartFailed
from wherry.runtime.host import Host
from wherry.runtime.processplan import ProcessPlan


@dataclass(frozen=True, slots=True)
class ExecPlan:
    """What is joined, and what runs there."""

    container: str
    process: ProcessPlan
    pidfd: int
    join_flags: int
    devpts: int
    tty: bool
    open_stdin: bool
    host: Host
    stdio: tuple[int, int, int] | None = None


def start(plan: ExecPlan, cgroup: Cgroup) -> tuple[int, int, list[int]]:
    """Start the process: its pid, its pidfd and the outer ends of its stdio.

    Raises `StartFailed` or `KernelError` with nothing left behind.
    """
    channel, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with channel:
        with far, contextlib.closing(cgroup.open_entrance()) as entrance:
            joiner = os.fork()
            if joiner == 0:
                _join(plan, far, entrance)
        pid = _joined(channel, joiner)
        pidfd = os.pidfd_open(pid)
        try:
            spawn.prepare_limits(pid, plan.process)
            messages.send_packet(channel, {"proceed": True})
            message, ends = _receive(channel)
            if "ready" not in message:
                raise messages.failed(message)
            spawn.release(channel)
        except BaseException:
            spawn.kill(pid)
            os.close(pidfd)
            raise
        return pid, pidfd, ends


def _joined(channel: socket.socket, joiner: int) -> int:
    try:
        message, _ = _receive(channel)
    finally:
        os.waitpid(joiner, 0)
    if "pid" not in message:
        raise messages.failed(message)
    return int(message["pid"])


def _receive(channel: socket.socket) -> tuple[messages.Message, list[int]]:
    try:
        return messages.receive_packet(channel)
    except messages.Closed:
        raise StartFailed("the container is not running", "exec") from None


def _join(plan: ExecPlan, channel: socket.socket, entrance: Entrance) -> NoReturn:
    """In the joiner: enter the container and clone the process as the shim's own child.

    From the first moment that the container can see this process, it cannot be traced and
    holds no descriptor of the host.
    """
    try:
        process.set_dumpable(False)
        keep = {0, 1, 2, channel.fileno(), plan.pidfd, *(plan.stdio or ())}
        keep.update(entrance.descriptors())
        if plan.devpts != -1:
            keep.add(plan.devpts)
        process.close_all_but(keep)
        # Only from outside a cgroup namespace can one be born into its cgroups, cgroups(7).
        process.setns(plan.pidfd, plan.join_flags & ~process.CLONE_NEWCGROUP, plan.container)
        pid, _ = process.clone(process.CLONE_PARENT, entrance.unified)
        if pid == 0:
            _run(plan, channel, entrance)
        messages.send_packet(channel, {"pid": pid})
    except BaseException as error:
        messages.send_packet(channel, messages.failure(error))
    os._exit(0)


def _run(plan: ExecPlan, channel: socket.socket, entrance: Entrance) -> NoReturn:
    try:
        messages.receive_packet(channel)  # Proceed
        entrance.enter()
        entrance.close()
        if plan.join_flags & process.CLONE_NEWCGROUP:
            process.setns(plan.pidfd, process.CLONE_NEWCGROUP, plan.container)
        os.close(plan.pidfd)
        become.become_root(bool(plan.join_flags & process.CLONE_NEWUSER))
        keyring.join_new_session(plan.container)
        ends = _take_stdio(plan)
        messages.send_packet(channel, {"ready": True}, ends)
        process.close_all_but({*range(3 + plan.process.keep), channel.fileno()})
        messages.receive_packet(channel)  # Go
        become.execute(plan.process, plan.host)
    except messages.Closed:
        os._exit(1)
    except BaseException as error:
        init.report(channel, error)
    os._exit(1)


def _take_stdio(plan: ExecPlan) -> list[int]:
    if plan.stdio is not None:
        init.install(plan.stdio)
        return []
    if not plan.tty:
        return init.make_pipes(plan.open_stdin)
    if plan.devpts == -1:
        raise KernelError("open terminal: the container has no devpts", "/dev/pts", 2)
    master, slave, _ = rootbuild.open_terminal(plan.devpts)
    if plan.process.rows and plan.process.columns:
        rootbuild.set_size(master, plan.process.rows, plan.process.columns)
    init.own_terminal(slave)
    return [master]
