"""Removing a container: marked first, then taken apart, then forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from wherry import faults
from wherry.engine.containers import volumes as mounted
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services
from wherry.errors import Conflict, WherryError
from wherry.fs.removing import remove_path


def check_removable(container: Container, *, force: bool, ours: bool = False) -> None:
    """Raise Conflict when a container cannot be removed; ``ours``: it is leaving by our doing."""
    state = container.state
    name = f'cannot remove container "{container.record.name}"'
    if state.status == "removing" or (container.leaving and not ours):
        raise Conflict(f"removal of container {container.id} is already in progress")
    if force:
        return
    if state.status == "paused":
        raise Conflict(f"{name}: container is paused and must be unpaused first")
    if state.running:
        raise Conflict(
            f"{name}: container is {state.status}: stop the container before removing or force"
            " remove"
        )


async def take_away(services: Services, container: Container, *, volumes: bool) -> None:
    """Take a container apart whose lock is held; when that fails it is dead."""
    if container.cleanup is not None:
        await asyncio.shield(container.cleanup)
        container.cleanup = None
    services.note_state(container, container.state.to("removing"))
    faults.point("remove.marked")
    try:
        await take_apart(services, container, volumes=volumes)
    except (WherryError, OSError) as error:
        services.note_state(container, replace(container.state.to("dead"), error=str(error)))
        container.tell_removed(str(error))
        raise
    services.forget(container)
    container.removed = True
    services.publish(container, "destroy")
    container.tell_removed()


async def take_apart(services: Services, container: Container, *, volumes: bool) -> None:
    """Undo everything that a container has; may be repeated after a crash."""
    record = container.record
    await asyncio.to_thread(services.layers.remove_root, record.id)
    faults.point("remove.rootfs")
    await asyncio.to_thread(remove_path, services.directory(record.id))
    faults.point("remove.directory")
    if record.mounts:
        await asyncio.to_thread(lambda: mounted.release(services, record, remove_anonymous=volumes))
    with services.store.transaction():
        services.networks.forget(record.id)
        services.store.delete(record.id)
    faults.point("remove.recorded")
