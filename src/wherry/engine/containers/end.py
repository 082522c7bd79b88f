"""What happens when a container ends: its state, its networks, a restart or its removal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace

from wherry import faults
from wherry.engine.containers import health, namespaces, restart
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services, log
from wherry.errors import KernelError, Unavailable, WherryError
from wherry.linux.cgroups import Cgroup
from wherry.runtime.bundle import ExitStatus, read_exit
from wherry.runtime.client import Shim
from wherry.runtime.foreign import ForeignRuntime
from wherry.runtime.messages import Message
from wherry.timestamps import SECOND

_KILLED = 137


def watch(services: Services, container: Container, shim: Shim) -> None:
    """Follow a running container to its end, in the background."""
    shim.on_event = lambda _, message: _heard(services, container, message)
    container.watcher = services.spawn(
        _watch(services, container, shim), f"watching container {container.id}"
    )


def _heard(services: Services, container: Container, message: Message) -> None:
    name = message["event"]
    if name == "oom":
        services.publish(container, "oom")
    elif name == "detach":
        exec_id = message.get("exec_id")
        if exec_id:
            services.publish(container, "exec_detach", {"execID": exec_id})
        else:
            services.publish(container, "detach")


async def _watch(services: Services, container: Container, shim: Shim) -> None:
    try:
        status = await shim.wait()
    except Unavailable:
        if services.closing:
            return
        status = await asyncio.to_thread(lost, services, container)
    if services.closing and container.removed:
        return
    async with container.lock:
        if container.shim is shim:
            await ended(services, container, status)


def lost(services: Services, container: Container) -> ExitStatus:
    """The end of a container whose shim was killed: its processes go, too."""
    cgroup = Cgroup(services.cgroup(container.record))
    with contextlib.suppress(KernelError):
        if cgroup.exists():
            cgroup.kill()
            cgroup.remove()
    directory, socket = services.directory(container.id), services.socket(container.id)
    if os.path.isdir(f"{directory}/oci"):  # another runtime's, which mounts on the host
        known = {"id": container.id, "directory": directory, "socket": socket}
        ForeignRuntime({**known, "runtime": container.record.host.runtime or ""}).clean()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(socket)
    recorded = read_exit(directory)
    if recorded is not None:
        return recorded
    reason = "the process that kept the container (its shim) was killed"
    return ExitStatus(_KILLED, time.time(), error=reason)


async def ended(services: Services, container: Container, status: ExitStatus) -> None:
    """Take note of an end; the container's lock is held."""
    faults.point("end.seen")
    health.end(services, container)
    before = container.state
    finished = max(int(status.at * SECOND), before.started)
    policy = container.record.host.restart_policy
    again = not services.closing and restart.wanted(
        policy, status.code, before.restart_count, stopped_by_user=before.stopped_by_user
    )
    shim, container.shim = container.shim, None
    await _release(services, container, shim)
    services.set_state(
        container,
        before.to(
            "restarting" if again else "exited",
            pid=0,
            exit_code=status.code,
            error=status.error,
            oom_killed=status.oom_killed,
            finished=finished,
            restart_count=before.restart_count + (1 if again else 0),
        ),
    )
    faults.point("end.recorded")
    container.log_complete.set()
    ran = finished - before.started
    services.publish(
        container,
        "die",
        {"execDuration": str(ran // SECOND), "exitCode": str(status.code)},
    )
    container.tell_stopped()
    if again:
        container.delay = restart.next_delay(container.delay, ran)
        restart_later(services, container)
    elif container.record.host.auto_remove:
        remove_later(services, container)


async def _release(services: Services, container: Container, shim: Shim | None) -> None:
    """Give back what a running container holds, so that others may have it at once."""
    record = container.record
    if shim is not None:
        container.cleanup = services.spawn(shim.delete(), f"ending the shim of {record.id}")
    faults.point("end.shim-deleted")
    try:
        await services.networks.detach(record.id)
    except WherryError as error:
        log.error("release the networks of container %s: %s", record.id, error)
    faults.point("end.network-released")
    if record.mounts:
        await asyncio.to_thread(services.volumes.unmount, record.id, tell=True)
    namespaces.unmount_shm(services, record)


def restart_later(services: Services, container: Container) -> None:
    """Start a container again after its delay, unless somebody stops it meanwhile."""

    async def wait_and_start() -> None:
        from wherry.engine.containers.start import start_locked

        await asyncio.sleep(container.delay)
        async with container.lock:
            container.restarting = None
            if container.state.status != "restarting" or services.closing:
                return
            try:
                await start_locked(services, container)
            except WherryError as error:
                log.error("restart container %s: %s", container.id, error)

    container.restarting = services.spawn(wait_and_start(), f"restarting {container.id}")


def remove_later(services: Services, container: Container) -> None:
    """Remove a container that was made to go away by itself."""

    async def remove() -> None:
        from wherry.engine.containers.remove import remove_locked

        async with container.lock:
            if not container.removed and not container.state.alive:
                await remove_locked(services, container, volumes=True)

    services.spawn(remove(), f"removing container {container.id}")


def cancel_restart(services: Services, container: Container) -> bool:
    """Give up a restart that is due; whether there was one."""
    if container.restarting is not None:
        container.restarting.cancel()
        container.restarting = None
    if container.state.status != "restarting":
        return False
    services.set_state(container, replace(container.state.to("exited"), stopped_by_user=True))
    container.tell_stopped()
    return True
