"""``exec``: one more process in a running container, and waiting for processes."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wherry.errors import Conflict, InvalidParameter, KernelError
from wherry.fs.opening import open_in_root
from wherry.linux import mounts
from wherry.linux.cgroups import Cgroup
from wherry.runtime import execs, host, spawn
from wherry.runtime.oci import console
from wherry.runtime.oci.state import Container
from wherry.runtime.processplan import parse_process

_FORWARDED = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT),
)


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """The flags of ``exec``."""

    process_file: str = ""
    command: Sequence[str] = ()
    environment: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    cwd: str = ""
    user: str = ""
    groups: Sequence[int] = ()
    tty: bool = False
    detach: bool = False
    no_new_privileges: bool = False
    apparmor: str = ""
    selinux: str = ""
    pid_file: str = ""
    console_socket: str = ""
    preserve_fds: int = 0


def process_of(container: Container, options: ExecOptions) -> dict[str, Any]:
    """The OCI process to run: from a file, or the container's own with the flags applied."""
    if options.process_file:
        try:
            with open(options.process_file) as file:
                given: dict[str, Any] = json.load(file)
        except (OSError, ValueError) as error:
            raise InvalidParameter(f"process file {options.process_file}: {error}") from None
        return given
    if not options.command:
        raise InvalidParameter("process args cannot be empty")
    process = dict(container.spec()["process"])
    process["args"] = list(options.command)
    process["terminal"] = options.tty
    process["env"] = [*(process.get("env") or ()), *options.environment]
    if options.cwd:
        process["cwd"] = options.cwd
    if options.user:
        user, _, group = options.user.partition(":")
        process["user"] = {"uid": user, "gid": group or 0}
    if options.groups:
        process["user"] = {**(process.get("user") or {}), "additionalGids": list(options.groups)}
    if options.capabilities:
        sets = process.get("capabilities") or {}
        process["capabilities"] = {
            name: [*(sets.get(name) or ()), *options.capabilities]
            for name in ("bounding", "effective", "permitted")
        }
    flags = {
        "noNewPrivileges": options.no_new_privileges,
        "apparmorProfile": options.apparmor,
        "selinuxLabel": options.selinux,
    }
    process |= {key: value for key, value in flags.items() if value}
    return process


def execute(container: Container, options: ExecOptions) -> int:
    """Run a process; its exit code, or 0 at once when it is detached."""
    status = container.status()
    if status == "stopped":
        raise Conflict("cannot exec in a stopped container")
    if status == "paused":
        raise Conflict("cannot exec in a paused container")
    process = process_of(container, options)
    terminal = bool(process.get("terminal")) or options.tty
    if terminal and options.detach and not options.console_socket:
        raise InvalidParameter("cannot allocate tty if the process is detached without a socket")
    plan = parse_process(process, spawn.read_filter(container.seccomp))
    pidfd = os.pidfd_open(container.pid)
    joining = execs.ExecPlan(
        container=container.id,
        process=replace(plan, keep=options.preserve_fds, orphan=True),
        pidfd=pidfd,
        join_flags=container.join_flags,
        devpts=_devpts(container) if terminal else -1,
        tty=terminal,
        open_stdin=True,
        host=host.look(),
        stdio=None if terminal else (0, 1, 2),
    )
    pid, process_fd, ends = execs.start(joining, Cgroup(container.cgroup))
    os.close(pidfd)
    try:
        return _accompany(pid, process_fd, ends[0] if terminal else -1, options)
    except BaseException:
        # Who asked is told that there is no process: then there must be none, also because
        # the container cannot end before it has been reaped, pid_namespaces(7).
        spawn.kill(pid)
        raise


def _accompany(pid: int, process_fd: int, master: int, options: ExecOptions) -> int:
    """Tell where the process is, and stay with it unless it is detached."""
    if options.pid_file:
        with open(options.pid_file, "w") as file:
            file.write(str(pid))
    if master != -1 and options.console_socket:
        console.hand_over(options.console_socket, master)
        os.close(master)
        master = -1
    if options.detach:
        return 0
    forward_signals(process_fd)
    return wait(pid, master)


def _devpts(container: Container) -> int:
    """The container's own devpts, reached through its root without following links."""
    root = os.open(f"/proc/{container.pid}/root", os.O_PATH | os.O_DIRECTORY)
    try:
        flags = os.O_PATH | os.O_DIRECTORY
        found = open_in_root(root, "/dev/pts", flags, follow=False)
    finally:
        os.close(root)
    if not mounts.is_devpts(found):  # what is opened there as a terminal could be anything
        os.close(found)
        raise KernelError("open terminal: not a devpts", "/dev/pts", errno.ENODEV)
    return found


def forward_signals(pidfd: int) -> None:
    """Pass on to a process what is sent to this one."""

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)

    for number in _FORWARDED:
        signal.signal(number, forward)


def wait(pid: int, master: int) -> int:
    """Wait for a child, relaying its terminal; its exit code."""
    if master != -1:
        console.relay(master)
    status = os.waitpid(pid, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
