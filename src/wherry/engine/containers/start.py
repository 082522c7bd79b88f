"""Starting a container: named steps, each with its undo."""

from __future__ import annotations

import asyncio
import errno
import functools
import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from wherry import faults
from wherry.engine.config.host import HostConfig
from wherry.engine.containers import health, namespaces, runtimes, volumes
from wherry.engine.containers.aftermath import Next, after_end
from wherry.engine.containers.container import Container
from wherry.engine.containers.logconfig import log_config
from wherry.engine.containers.record import Record
from wherry.engine.containers.services import Services
from wherry.engine.containers.state import State, Status
from wherry.engine.spec.apparmor import DEFAULT, policy
from wherry.engine.spec.runtimespec import SpecInput, build, held_capabilities
from wherry.engine.spec.security import parse_security_options
from wherry.errors import Conflict, InvalidParameter, NotModified, WherryError, prefixed
from wherry.linux import apparmor, seccomp
from wherry.network.model import Plan
from wherry.runtime.bundle import Bundle, StartFailed

_NOT_FOUND = 127
_UNKNOWN = 128
_NETWORKING = "failed to set up container networking"
"""Exit code of a container whose start failed for another reason than its command."""


def check_startable(container: Container) -> None:
    """Raise NotModified or Conflict when a container cannot be started."""
    state = container.state
    if container.removed or container.leaving or state.status in ("removing", "dead"):
        raise Conflict("container is marked for removal and cannot be started")
    if state.status == "paused":
        raise Conflict("cannot start a paused container, try unpause instead")
    if state.status == "running":
        raise NotModified(f"container {container.id} runs already")


async def run(services: Services, container: Container) -> None:
    """Start a container whose lock is held; on failure all is undone, and `failed` is to follow."""
    if container.cleanup is not None:
        await asyncio.shield(container.cleanup)
        container.cleanup = None
    async with AsyncExitStack() as undo:
        await _start(services, container, undo)
        undo.pop_all()


async def _start(services: Services, container: Container, undo: AsyncExitStack) -> None:
    record = container.record
    await namespaces.settled(services, record.host)
    joined = namespaces.resolve(services, record.id, record.host, record.first_id)
    try:
        plan = services.networks.allocate(record.id)
    except WherryError as error:
        raise prefixed(_NETWORKING, error) from error
    undo.push_async_callback(services.networks.detach, record.id)
    services.networks.write_files(plan)
    faults.point("start.network")
    points = await volumes.prepare(services, record, undo)
    namespaces.mount_shm(services, record)
    undo.callback(namespaces.unmount_shm, services, record)
    given = _spec_input(services, record, joined, plan)
    given = replace(given, mounts=points)
    bundle = await asyncio.to_thread(_bundle, services, record, given)
    faults.point("start.spec")
    pending, container.pending = container.pending, []
    shim = await services.launcher.create(bundle, pending)
    undo.push_async_callback(shim.delete)
    faults.point("start.shim")
    # The first process builds its root while the network is plugged into its namespace.
    try:
        await services.networks.attach(plan, shim.pid)
    except WherryError as error:
        await shim.ready()  # a process that has failed took its namespace along: then that counts
        raise prefixed(_NETWORKING, error) from error
    faults.point("start.attached")
    await shim.start()
    faults.point("start.executed")
    container.shim, container.spec = shim, given
    container.log_complete.clear()
    services.set_state(
        container,
        container.state.to(
            "running",
            pid=shim.pid,
            exit_code=0,
            error="",
            oom_killed=False,
            started=time.time_ns(),
        ),
    )
    faults.point("start.recorded")
    services.publish(container, "start")
    health.begin(services, container)


def failed(
    services: Services, container: Container, error: BaseException, *, automatic: bool
) -> Next:
    """Keep why a start failed. Returns what is to follow.

    A start that nobody asked for now, because a policy or the engine's opening made it
    (``automatic``), counts as an end: the policy may want another.
    """
    _close_pending(container)
    before, told = container.state, refusal(error)
    code = _UNKNOWN
    if isinstance(error, StartFailed):
        code = _NOT_FOUND if _mismatch(error) else error.exit_code
        code = _UNKNOWN if code == 125 else code
    following = after_end(
        container.record.host,
        before if automatic else replace(before, stopped_by_user=True),
        code,
        ran=0,
        delay=container.delay,
        claimed=container.claimed,
        closing=services.closing,
    )
    again = following.action == "restart"
    status: Status = "created" if before.status == "created" else "exited"
    changed = State(
        status="restarting" if again else status,
        exit_code=code,
        error=str(told) or type(told).__name__,
        started=before.started,
        finished=before.finished,
        restart_count=before.restart_count + (1 if again else 0),
        stopped_by_user=before.stopped_by_user,
    )
    container.shim = None
    container.log_complete.set()
    services.note_state(container, changed)
    container.tell_stopped()
    return following


def refusal(error: BaseException) -> BaseException:
    """The failure as Docker's clients know it; they find the exit code by these words."""
    if not isinstance(error, StartFailed):
        return error
    if error.step == "look up user":
        return InvalidParameter(str(error))
    text = (
        "failed to create task for container: OCI runtime create failed:"
        f" unable to start container process: {error}"
    )
    if _mismatch(error):
        return InvalidParameter(
            f"{text}: Are you trying to mount a directory onto a file (or vice-versa)?"
            " Check if the specified host path exists and is the expected type"
        )
    if error.exit_code in (126, 127):
        return InvalidParameter(text)
    return WherryError(text)


def _mismatch(error: StartFailed) -> bool:
    """Whether a directory was to be mounted on a file, or a file on a directory."""
    return error.step in ("mount", "open") and error.errno == errno.ENOTDIR


def _close_pending(container: Container) -> None:
    for request in container.pending:
        request.sock.close()
    container.pending.clear()


def _spec_input(
    services: Services, record: Record, joined: namespaces.Joined, plan: Plan
) -> SpecInput:
    config = record.config
    files = services.directory(record.id)
    mark = f"{files}/dockerenv"
    donor = namespaces.joined_reference(record.host.network_mode)
    if donor:
        other = services.find(donor)
        files = services.directory(other.id)
        config = replace(config, hostname=other.record.config.hostname)
    known = {f"/etc/{name}": f"{files}/{name}" for name in ("resolv.conf", "hostname", "hosts")}
    if os.path.exists(mark):
        known["/.dockerenv"] = mark
    return SpecInput(
        config=config,
        host=record.host,
        args=record.args,
        files=known,
        first_id=joined.first_id,
        joined=joined.paths,
        shm=joined.shm,
        linked_environment=plan.environment,
        ulimits=services.config.ulimits,
        no_new_privileges=services.config.no_new_privileges,
        apparmor=services.facts.apparmor,
        last_capability=services.facts.last_capability,
    )


def _bundle(services: Services, record: Record, given: SpecInput) -> Bundle:
    program = runtimes.program(record.host.runtime, services.config.runtimes)
    spec = build(given)
    if spec["process"]["apparmorProfile"] == DEFAULT and not apparmor.loaded(DEFAULT):
        apparmor.load(policy())  # someone has removed it since the engine opened
    if program:
        spec["linux"]["seccomp"] = profile_for_others(services, record.host)
    return Bundle(
        id=record.id,
        spec=spec,
        root=services.layers.driver.root(record.id, record.layers),
        directory=services.directory(record.id),
        socket=services.socket(record.id),
        cgroup=services.cgroup(record),
        log=log_config(record, services.log_path(record)),
        tty=record.config.tty,
        open_stdin=record.config.open_stdin,
        stdin_once=record.config.stdin_once,
        init=bool(record.host.init),
        seccomp=compiled_filter(services, record.host),
        runtime=program,
    )


def compiled_filter(services: Services, host: HostConfig) -> str | None:
    """The compiled filter of a container, None when it has none."""
    confined, profile = _profile(services, host)
    if not confined:
        return None
    held = held_capabilities(host, services.facts.last_capability)
    folder = os.path.join(services.config.data_root, "seccomp")
    return _compiled(folder, profile, tuple(held))


def profile_for_others(services: Services, host: HostConfig) -> dict[str, Any] | None:
    """The filter of a container in the OCI form, for another runtime; None when it has none."""
    confined, profile = _profile(services, host)
    if not confined:
        return None
    held = held_capabilities(host, services.facts.last_capability)
    return seccomp.oci_form(json.loads(profile) if profile else None, held)


def _profile(services: Services, host: HostConfig) -> tuple[bool, str | None]:
    """Whether a container is confined, and by which profile (None: the built-in one)."""
    chosen = parse_security_options(host.security_opt).seccomp
    if chosen is None and host.privileged:
        return False, None
    default = services.config.seccomp_profile
    if chosen is None and default and default != "builtin":
        chosen = "unconfined" if default == "unconfined" else _read_profile(default)
    return chosen != "unconfined", chosen


@functools.lru_cache(maxsize=64)
def _read_profile(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise InvalidParameter(f"read seccomp profile {path}: {error.strerror}") from None


@functools.lru_cache(maxsize=256)
def _compiled(folder: str, profile: str | None, held: tuple[str, ...]) -> str:
    return seccomp.compiled(folder, json.loads(profile) if profile else None, held)
