"""The shim's part in making a container's first process: cgroups, namespaces, id maps, trees."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from wherry.errors import InvalidParameter, KernelError
from wherry.linux import process, rlimits
from wherry.linux.cgroups import Cgroup, Entrance, discover
from wherry.linux.idmap import IdRange, write_maps
from wherry.runtime import init, messages, specrules
from wherry.runtime.bundle import Bundle, StartFailed
from wherry.runtime.host import Host
from wherry.runtime.processplan import ProcessPlan, parse_process
from wherry.runtime.rootplan import plan_root
from wherry.runtime.sources import open_sources


@dataclass(frozen=True, slots=True)
class Namespaces:
    """``flags`` are made, ``joined`` are entered by path, ``cgroup`` is made by init itself."""

    flags: int
    joined: Mapping[str, str]
    cgroup: bool


@dataclass(slots=True)
class Spawned:
    """A first process that exists and builds its root.

    ``join_flags`` are the namespaces that an exec has to enter; ``joiner`` is a helper that
    has ended and is to be reaped (0: none).
    """

    pid: int
    pidfd: int
    channel: socket.socket | None
    join_flags: int
    warnings: list[str]
    joiner: int = 0


def _nothing() -> None:
    """No hook."""


def _made(pid: int) -> None:
    """No hook."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What the OCI command line wants beyond a bundle; see `init.InitPlan`.

    ``made`` is called with the pid once the namespaces and cgroups exist; ``keep`` counts the
    inherited descriptors from 3 on.
    """

    stdio: tuple[int, int, int] | None = None
    gate: socket.socket | None = None
    keep: int = 0
    made: Callable[[int], None] = _made
    before_pivot: Callable[[], None] = _nothing
    before_execve: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Ready:
    """What a first process hands out when only execve is missing.

    ``ends`` are the outer ends of its stdio: a terminal's master, or stdin (if open), stdout,
    stderr. ``devpts`` is its own instance, or -1.
    """

    ends: list[int]
    devpts: int


def parse_namespaces(spec: Mapping[str, Any]) -> Namespaces:
    """The ``linux.namespaces`` of a spec, all of which `specrules` has judged before.

    Raises InvalidParameter for what no container may have, or not without its namespace.
    """
    specrules.check(spec, specrules.private_namespaces(spec))
    flags, joined, cgroup = 0, {}, False
    for entry in (spec.get("linux") or {}).get("namespaces") or ():
        kind, path = entry["type"], entry.get("path") or ""
        if path:
            if kind in ("mount", "time"):
                raise InvalidParameter(f"joining a {kind} namespace is not supported: {path}")
            joined[kind] = path
        elif kind == "cgroup":
            cgroup = True
        elif kind == "time":
            raise InvalidParameter("time namespaces are not supported")
        else:
            flags |= process.NAMESPACES[kind]
    return Namespaces(flags, joined, cgroup)


def spawn(
    bundle: Bundle,
    host: Host,
    extras: Extras | None = None,
    *,
    for_parent: bool = False,
) -> Spawned:
    """Make the container's first process in its namespaces; it goes on to build its root.

    ``for_parent`` makes it the child of the caller's parent. Everything made is undone when a
    step fails. Raises `StartFailed`, `KernelError`, `InvalidParameter`.
    """
    spec = bundle.spec
    linux = spec.get("linux") or {}
    namespaces = parse_namespaces(spec)
    uids = IdRange.parse(linux.get("uidMappings") or ())
    gids = IdRange.parse(linux.get("gidMappings") or ())
    user_namespace = bool(namespaces.flags & process.CLONE_NEWUSER) or "user" in namespaces.joined
    extras = extras or Extras()
    plan = parse_process(spec["process"], read_filter(bundle.seccomp), init=bundle.init)
    plan = replace(plan, keep=extras.keep, orphan=extras.gate is not None)
    layout = discover()
    init_plan = init.InitPlan(
        id=bundle.id,
        root=plan_root(
            spec,
            bundle.root,
            tty=bundle.tty,
            cgroup=bundle.cgroup,
            layout=layout,
            idmap=bundle.idmap,
        ),
        process=plan,
        user_namespace=user_namespace,
        cgroup_namespace=namespaces.cgroup,
        hostname=spec.get("hostname") or "",
        domainname=spec.get("domainname") or "",
        sysctls=linux.get("sysctl") or {},
        tty=bundle.tty,
        open_stdin=bundle.open_stdin,
        host=host,
        stdio=extras.stdio,
        gate=extras.gate,
        before_pivot=extras.before_pivot,
        before_execve=extras.before_execve,
    )
    with contextlib.ExitStack() as undo:
        cgroup = Cgroup(bundle.cgroup, layout)
        undo.callback(cgroup.remove)
        cgroup.create()
        cgroup.apply(linux.get("resources") or {})
        channel, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(channel.close)
        with far, contextlib.closing(cgroup.open_entrance()) as entrance:
            pid, pidfd, joiner = _clone(
                namespaces, init_plan, channel, far, entrance, for_parent=for_parent
            )
        undo.callback(os.close, pidfd)
        undo.callback(end, pidfd)
        if uids and "user" not in namespaces.joined:
            write_maps(pid, uids, gids)
        _expect(channel, "entered", pid)
        warnings = prepare_limits(pid, plan)
        extras.made(pid)
        _send_sources(channel, pid, init_plan, user_namespace, uids, gids)
        undo.pop_all()
    join_flags = namespaces.flags
    for kind in namespaces.joined:
        join_flags |= process.NAMESPACES[kind]
    if namespaces.cgroup:
        join_flags |= process.CLONE_NEWCGROUP
    return Spawned(pid, pidfd, channel, join_flags, warnings, joiner)


def wait_ready(spawned: Spawned) -> Ready:
    """Wait until the root is built; raises `StartFailed` when that went wrong."""
    assert spawned.channel is not None
    ready, fds = _expect(spawned.channel, "ready", spawned.pid)
    return Ready(fds[: ready["ends"]], fds[-1] if ready["devpts"] else -1)


def _expect(channel: socket.socket, what: str, pid: int) -> tuple[Any, list[int]]:
    """The next message of init, which must be ``what``, and its descriptors."""
    try:
        message, fds = messages.receive_packet(channel)
    except messages.Closed:
        raise StartFailed(
            f"the container's first process (pid {pid}) was killed while it set itself up", "init"
        ) from None
    if what not in message:
        raise messages.failed(message)
    return message[what], fds


def prepare_limits(pid: int, plan: ProcessPlan) -> list[str]:
    """What a process may not do for itself: raise hard limits, lower its OOM score."""
    warnings = rlimits.raise_hard_limits(pid, list(plan.limits))
    if plan.oom_score is not None:
        try:
            with open(f"/proc/{pid}/oom_score_adj", "w") as file:
                file.write(str(plan.oom_score))
        except PermissionError:
            warnings.append(f"this host does not let the OOM score be lowered to {plan.oom_score}")
        except OSError as error:
            raise KernelError("set OOM score", str(plan.oom_score), error.errno or 0) from error
    return warnings


def release(channel: socket.socket) -> None:
    """Let a waiting process go on to execve; returns when that has happened."""
    try:
        messages.send_packet(channel, {"go": True})
        message, _ = messages.receive_packet(channel)
    except (messages.Closed, BrokenPipeError):
        return
    finally:
        channel.close()
    raise messages.failed(message)


def read_filter(path: str | None) -> bytes:
    """A compiled seccomp filter; empty for None."""
    if path is None:
        return b""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise KernelError("read seccomp filter", path, error.errno or 0) from error


def _clone(
    namespaces: Namespaces,
    plan: init.InitPlan,
    channel: socket.socket,
    far: socket.socket,
    entrance: Entrance,
    *,
    for_parent: bool,
) -> tuple[int, int, int]:
    """The first process and its pidfd, and a joiner that is to be reaped by the parent (or 0)."""
    parent = process.CLONE_PARENT if for_parent else 0
    if not namespaces.joined:
        pid, pidfd = process.clone(namespaces.flags | parent, entrance.unified)
        if pid == 0:
            channel.close()
            init.run(plan, far, entrance)
        return pid, pidfd, 0
    # A joiner enters what exists and clones the first process as its own sibling.
    answers, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with answers, answering:
        joiner, joiner_fd = process.clone(parent)
        if joiner == 0:
            channel.close()
            _join(namespaces, plan, far, entrance, answering)
        answering.close()
        os.close(joiner_fd)
        try:
            message, _ = messages.receive_packet(answers)
        except messages.Closed:
            message = messages.failure(StartFailed("the joiner was killed", "join namespaces"))
    if not for_parent:
        os.waitpid(joiner, 0)
    if "pid" not in message:
        raise messages.failed(message)
    return message["pid"], os.pidfd_open(message["pid"]), joiner if for_parent else 0


def _join(
    namespaces: Namespaces,
    plan: init.InitPlan,
    far: socket.socket,
    entrance: Entrance,
    answering: socket.socket,
) -> NoReturn:
    try:
        opened = open_namespaces(namespaces.joined)
        # Only from outside a cgroup namespace can one be born into its cgroups, cgroups(7).
        cgroup = opened.pop("cgroup", None)
        enter(opened)
        pid, _ = process.clone(namespaces.flags | process.CLONE_PARENT, entrance.unified)
        if pid == 0:
            answering.close()
            if cgroup is not None:
                enter({"cgroup": cgroup})
            init.run(plan, far, entrance)
        messages.send_packet(answering, {"pid": pid})
    except BaseException as error:
        messages.send_packet(answering, messages.failure(error))
    os._exit(0)


def open_namespaces(paths: Mapping[str, str]) -> dict[str, int]:
    """Descriptors of namespaces by type.

    The user namespace comes last, while real root may enter all.
    """
    order = sorted(paths, key=lambda kind: kind == "user")
    return {kind: _open_namespace(paths[kind]) for kind in order}


def enter(opened: Mapping[str, int]) -> None:
    """Join namespaces, in the order given, and close their descriptors."""
    for kind, fd in opened.items():
        process.setns(fd, process.NAMESPACES[kind], kind)
        os.close(fd)


def _open_namespace(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open namespace", path, error.errno or 0) from error


def _send_sources(
    channel: socket.socket,
    pid: int,
    plan: init.InitPlan,
    user_namespace: bool,
    uids: tuple[IdRange, ...],
    gids: tuple[IdRange, ...],
) -> None:
    with contextlib.ExitStack() as closing:
        namespace = 0
        if user_namespace:
            namespace = _open_namespace(f"/proc/{pid}/ns/user")
            closing.callback(os.close, namespace)
        sources = open_sources(plan.root.sources, namespace, uids, gids)
        for fd in sources:
            closing.callback(os.close, fd)
        messages.send_packet(channel, {"proceed": True}, sources)


def kill(pid: int) -> None:
    """Kill and reap a child."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def end(pidfd: int) -> None:
    """Kill a process, child or not, and wait until it has ended."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(pidfd, signal.SIGKILL)
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    ended.poll()
