"""After a restart: the store, the shims and the kernel are compared and brought to agree."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Collection
from dataclasses import replace

from wherry.engine.containers import end, health, life, lost, remove
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services, log
from wherry.engine.spec.runtimespec import SpecInput
from wherry.errors import KernelError, NotFound, WherryError
from wherry.linux import mounts
from wherry.linux.cgroups import Cgroup, discover
from wherry.runtime.client import Shim


async def adopt(services: Services) -> None:
    """Take all containers of the store over, with those that run and those that have ended.

    What belongs to no container goes away, unless the store had to be repaired: then it may be a
    container's whose record is lost. Raises KernelError for what cannot be repaired.
    """
    for record, state, checked in services.store.all():
        services.add(Container(record, state, health=checked))
    if services.repaired:
        await asyncio.to_thread(lost.mark, services)
    kept = lost.identities(services)
    strangers = await _end_strangers(services, kept)
    living = [container for container in services if container.state.alive]
    shims = dict(
        zip(living, await asyncio.gather(*(_connect(services, one) for one in living)), strict=True)
    )
    running = {one.id: shim.pid for one, shim in shims.items() if shim and shim.state == "running"}
    await services.networks.reconcile(running | strangers)
    await asyncio.to_thread(
        services.volumes.reconcile, [*services.containers, *kept], [*running, *strangers]
    )
    await asyncio.to_thread(_sweep, services, kept)
    for container in services:
        await _settle(services, container, shims.get(container))
    life.resume(services)


async def _connect(services: Services, container: Container) -> Shim | None:
    try:
        return await Shim.connect(services.socket(container.id))
    except WherryError:
        return None


async def _settle(services: Services, container: Container, shim: Shim | None) -> None:
    """Bring one container's state to what is really there."""
    status = container.state.status
    if status in ("removing", "dead"):
        await _finish_removal(services, container)
    elif container.state.alive:
        if shim is not None and shim.state == "running":
            _take(services, container, shim)
            return
        async with container.lock:
            container.shim = shim
            if shim is not None and shim.state == "stopped":
                ended = await shim.wait()
            else:
                ended = await asyncio.to_thread(end.lost, services, container)
            await end.ended(services, container, ended)
    else:
        container.log_complete.set()


def _take(services: Services, container: Container, shim: Shim) -> None:
    record = container.record
    cgroup = Cgroup(services.cgroup(record))
    frozen, paused = cgroup.frozen(), container.state.status == "paused"
    if paused and not frozen:
        services.note_state(container, container.state.to("running"))
    elif frozen and not paused:
        with contextlib.suppress(KernelError):
            cgroup.thaw()  # a commit, or a pause that nobody was told of
    container.shim = shim
    container.state = replace(container.state, pid=shim.pid)
    container.spec = SpecInput(
        config=record.config,
        host=record.host,
        args=record.args,
        first_id=record.first_id,
        ulimits=services.config.ulimits,
        no_new_privileges=services.config.no_new_privileges,
        apparmor=services.facts.apparmor,
        last_capability=services.facts.last_capability,
    )
    life.watch(services, container, shim)
    health.begin(services, container, again=True)


async def _finish_removal(services: Services, container: Container) -> None:
    try:
        await remove.take_apart(services, container, volumes=False)
    except (WherryError, OSError) as error:
        log.error("remove container %s: %s", container.id, error)
        container.state = replace(container.state, status="dead", error=str(error))
        return
    services.forget(container)
    container.removed = True


async def _end_strangers(services: Services, kept: Collection[str]) -> dict[str, int]:
    """End the shims of what the store does not know or not as running: started in vain.

    Returns the pids of those whose records are lost and that therefore run on.
    """
    left: dict[str, int] = {}
    folder = os.path.join(services.config.exec_root, "shims")
    for name in os.listdir(folder):
        if not name.endswith(".sock"):
            continue
        container = services.containers.get(name.removesuffix(".sock"))
        path = os.path.join(folder, name)
        if container is not None and container.state.alive:
            continue
        try:
            shim = await Shim.connect(path)
            if shim.id in kept and shim.state == "running":
                left[shim.id] = shim.pid
                continue
            await shim.delete()
        except (NotFound, WherryError):
            pass
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return left


def _sweep(services: Services, kept: Collection[str]) -> None:
    """Folders, roots, cgroups and mounts of containers that are not in the store nor ``kept``."""
    known = {*services.containers, *kept}
    folder = os.path.join(services.config.data_root, "containers")
    for name in os.listdir(folder):
        if name not in known:
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    for name in services.layers.driver.containers():
        if name.partition(".")[0] not in known:  # ID, or ID.NUMBER of an image mount
            services.layers.remove_root(name)
    shared = os.path.join(services.config.exec_root, "shm")
    for name in os.listdir(shared) if os.path.isdir(shared) else ():
        container = services.containers.get(name)
        if name not in kept and (container is None or not container.state.alive):
            with contextlib.suppress(KernelError, OSError):
                _unmount(os.path.join(shared, name))
    parent = services.config.cgroup_parent or services.instance.cgroup_parent
    alive = {container.id for container in services if container.state.alive} | set(kept)
    for point in discover().hierarchies():
        base = f"{point}/{parent.strip('/')}"
        for name in os.listdir(base) if os.path.isdir(base) else ():
            if len(name) == 64 and name not in alive and os.path.isdir(f"{base}/{name}"):
                _remove_cgroup(f"/{parent.strip('/')}/{name}")


def _unmount(path: str) -> None:
    if os.path.ismount(path):
        mounts.unmount(path, mounts.MNT_DETACH)
    os.rmdir(path)


def _remove_cgroup(path: str) -> None:
    cgroup = Cgroup(path)
    with contextlib.suppress(KernelError):
        cgroup.kill()
        cgroup.remove()
