"""After a restart: the store, the shims and the kernel are compared and brought to agree.

`recall` knows the containers before the engine answers, and asks none of them. `adopt` goes on
behind: first what nobody has any more is given back, and new containers may start; then each
container is taken over, some at a time; then those go on that start or go by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from wherry.engine.containers import end, health, leftovers, life, lost, remove
from wherry.engine.containers.aftermath import REST, Next
from wherry.engine.containers.container import Container
from wherry.engine.containers.leftovers import Leftovers
from wherry.engine.containers.services import Services, log
from wherry.engine.spec.runtimespec import SpecInput
from wherry.errors import KernelError, NotFound, WherryError
from wherry.linux.cgroups import Cgroup
from wherry.runtime.client import Shim

_AT_A_TIME = 16
"""Containers that are taken over side by side."""
_PATIENCE = 2.0
"""Seconds after which a container keeps no other from its turn."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was found out before the engine answers.

    ``live`` are the containers that run, with the pids of their inits; ``spared`` those that ran
    when they were last heard of, ``kept`` those whose records are lost and that are left alone.
    """

    live: dict[str, int]
    spared: Collection[str]
    kept: Collection[str]
    left: Leftovers


async def recall(services: Services) -> Recalled:
    """Know all containers of the store, and what is there on the host; nobody is asked.

    What belongs to no container goes away later, unless the store had to be repaired: then it may
    be a container's whose record is lost.
    """
    for record, state, checked in services.store.all():
        services.add(Container(record, state, health=checked))
    if services.repaired:
        await asyncio.to_thread(lost.mark, services)
    return await asyncio.to_thread(_look, services)


def _look(services: Services) -> Recalled:
    kept = lost.identities(services)
    spared = {container.id: container.state.pid for container in services if container.state.alive}
    live = {container: pid for container, pid in spared.items() if _is_of(pid, container)}
    services.volumes.reconcile([*services.containers, *kept], [*spared, *kept])
    left = leftovers.find(services, kept)
    unsettled = left.containers
    services.adoption.expect(
        container.id
        for container in services
        if container.state.status not in ("created", "exited") or container.id in unsettled
    )
    for container in services:
        if not services.adoption.expects(container.id):
            container.log_complete.set()
    return Recalled(live, spared.keys(), kept, left)


def _is_of(pid: int, container: str) -> bool:
    """Whether a process is in the cgroup of a container: pids are given again, cgroups(7)."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return container in file.read()
    except OSError:
        return False


async def adopt(
    services: Services, recalled: Recalled, on_adopted: Callable[[Container], None]
) -> None:
    """Take over what `recall` found; a container that cannot be taken over keeps no other."""
    begun = time.monotonic()
    found = {container.id: container.state for container in services}
    try:
        strangers = await _end_strangers(services, recalled)
        await services.networks.take_stock(recalled.live | strangers, recalled.spared)
        await asyncio.to_thread(leftovers.remove_of_ended, recalled.left)
        services.adoption.cleared.set()
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_A_TIME):
                group.create_task(_take_over_some(services, on_adopted))
            group.create_task(
                asyncio.to_thread(leftovers.remove_of_unknown, services, recalled.left)
            )
    except BaseException:
        services.adoption.end()
        raise
    if recalled.spared:
        seconds = time.monotonic() - begun
        log.info("took over %d containers in %.1f s", len(recalled.spared), seconds)
    life.resume(services, found)
    services.adoption.finish()


async def _take_over_some(services: Services, on_adopted: Callable[[Container], None]) -> None:
    """One after the other; one that takes too long goes on while the next has its turn."""
    while (identity := services.adoption.take()) is not None:
        container = services.containers[identity]
        task = services.spawn(
            _take_over(services, container, on_adopted), f"taking over container {identity}"
        )
        done, _ = await asyncio.wait({task}, timeout=_PATIENCE)
        if not done:
            log.warning("taking over container %s takes long: the others go on", identity)


async def _take_over(
    services: Services, container: Container, on_adopted: Callable[[Container], None]
) -> None:
    try:
        following = await _settle(services, container)
        on_adopted(container)
    finally:
        services.adoption.done(container.id)
    if services.adoption.over:  # too late for `life.resume`
        life.follow(services, container, following)


async def _settle(services: Services, container: Container) -> Next:
    """Bring one container's state to what is really there; returns what is to follow."""
    status = container.state.status
    if status in ("removing", "dead"):
        await _finish_removal(services, container)
    elif container.state.alive:
        shim = await _connect(services, container)
        if shim is not None and shim.state == "running":
            await services.networks.mend(container.id, shim.pid)
            _take(services, container, shim)
            return REST
        async with container.lock:
            container.shim = shim
            if shim is not None and shim.state == "stopped":
                ended = await shim.wait()
            else:
                ended = await asyncio.to_thread(end.lost, services, container)
            return await end.ended(services, container, ended)
    else:
        container.log_complete.set()
    return REST


async def _connect(services: Services, container: Container) -> Shim | None:
    try:
        return await Shim.connect(services.socket(container.id))
    except WherryError:
        return None


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
    except Exception as error:  # whatever it is: it keeps this container, and no other
        log.error("remove container %s: %s", container.id, error)
        container.state = replace(container.state, status="dead", error=str(error))
        return
    services.forget(container)
    container.removed = True


async def _end_strangers(services: Services, recalled: Recalled) -> dict[str, int]:
    """End the shims of what the store does not know or not as running: started in vain.

    Returns the pids of those whose records are lost and that therefore run on.
    """
    sockets: Sequence[str] = recalled.left.sockets
    found = await asyncio.gather(*(_end_stranger(path, recalled.kept) for path in sockets))
    return dict(one for one in found if one is not None)


async def _end_stranger(path: str, kept: Collection[str]) -> tuple[str, int] | None:
    try:
        shim = await Shim.connect(path)
        if shim.id in kept and shim.state == "running":
            return shim.id, shim.pid
        await shim.delete()
    except (NotFound, WherryError):
        pass
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return None
