"""Pausing: all processes of a container are frozen where they are, and thawed again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from wherry import faults
from wherry.engine.containers.container import Container
from wherry.engine.containers.liveness import needs_running
from wherry.engine.containers.services import Services
from wherry.errors import Conflict, KernelError, WherryError
from wherry.linux.cgroups import Cgroup


async def pause(services: Services, container: Container, *, lasting: bool = True) -> None:
    """``POST /containers/{id}/pause``; one that is not ``lasting`` ends with the engine."""
    async with container.lock:
        if not container.state.running:
            raise Conflict(f"Container {container.id} is not running")
        if container.state.status == "paused":
            raise Conflict(f"Container {container.id} is already paused")
        if container.state.status == "restarting":
            raise Conflict(
                f"Container {container.id} is restarting, wait until the container is running"
            )
        with needs_running(container):
            await asyncio.to_thread(set_frozen, services, container, True)
        faults.point("pause.frozen")
        if lasting:
            services.note_state(container, container.state.to("paused"))
        else:
            container.state = container.state.to("paused")
        services.publish(container, "pause")


async def unpause(services: Services, container: Container) -> None:
    """``POST /containers/{id}/unpause``."""
    async with container.lock:
        if container.state.status != "paused":
            raise Conflict(f"Container {container.id} is not paused")
        with needs_running(container):
            await asyncio.to_thread(set_frozen, services, container, False)
        faults.point("unpause.thawed")
        services.note_state(container, container.state.to("running"))
        services.publish(container, "unpause")


@asynccontextmanager
async def held_still(services: Services, container: Container) -> AsyncIterator[None]:
    """Pause a container for a while, if it runs; it may end at any moment meanwhile."""
    frozen = container.state.status == "running"
    if frozen:
        try:
            await pause(services, container, lasting=False)
        except Conflict:  # it has ended or was paused by somebody else: it is still, too
            frozen = False
    try:
        yield
    finally:
        if frozen:
            with suppress(Conflict):
                await unpause(services, container)


def set_frozen(services: Services, container: Container, frozen: bool) -> None:
    """Freeze or thaw a container's processes, whatever its state says."""
    cgroup = Cgroup(services.cgroup(container.record))
    try:
        if frozen:
            cgroup.freeze()
        else:
            cgroup.thaw()
    except KernelError as error:
        verb = "pause" if frozen else "unpause"
        raise WherryError(f"Cannot {verb} container {container.id}: {error}") from error
