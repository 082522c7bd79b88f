"""The life of a container: what is asked of it from outside, and what follows by itself.

The steps of starting, stopping, ending and removing are in modules that know nothing of each
other. Here they are put together: a container that was started is watched, one that has ended
rests, starts again or goes away, as `aftermath` decides. Only the facade and the adoption of
containers use this module.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from wherry.engine.containers import aftermath, end, freeze, links, namespaces, remove, start, stop
from wherry.engine.containers.aftermath import Next
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services, log
from wherry.engine.containers.state import State
from wherry.errors import Conflict, NotModified, Unavailable, WherryError
from wherry.runtime.client import Shim
from wherry.runtime.messages import Message

# Starting


async def start_container(services: Services, container: Container) -> None:
    """``POST /containers/{id}/start``.

    Raises NotModified when it runs already, Conflict when its state forbids it.
    """
    async with container.lock:
        start.check_startable(container)
        _forget_restart(container)
        _begin_anew(container)
        await _start_locked(services, container, automatic=False)


def _begin_anew(container: Container) -> None:
    """Forget what came before: how often it was restarted, and that somebody stopped it."""
    container.state = replace(container.state, stopped_by_user=False, restart_count=0)
    container.delay = 0.0


async def _start_locked(services: Services, container: Container, *, automatic: bool) -> None:
    """Start and watch; a start that nobody asked for now is tried again as an end would be."""
    try:
        await start.run(services, container)
    except BaseException as error:
        told = start.refusal(error)
        follow(services, container, start.failed(services, container, error, automatic=automatic))
        if told is error:
            raise
        raise told from error
    if container.shim is not None:
        watch(services, container, container.shim)


# Watching, and what follows an end


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
        status = await asyncio.to_thread(end.lost, services, container)
    if services.closing and container.removed:
        return
    async with container.lock:
        if container.shim is shim:
            follow(services, container, await end.ended(services, container, status))


def follow(services: Services, container: Container, following: Next) -> None:
    """Let follow what `aftermath` has decided, in the background."""
    if following.action == "restart":
        _restart_later(services, container, following.delay)
    elif following.action == "remove":
        _remove_later(services, container)


# Restarts and removals that follow by themselves


def _restart_later(
    services: Services,
    container: Container,
    delay: float,
    after: Sequence[asyncio.Task[None]] = (),
) -> asyncio.Task[None]:
    """Start a container again after ``delay`` seconds and ``after`` other tasks, unless somebody
    starts, stops or removes it meanwhile.
    """
    status = container.state.status

    async def wait_and_start() -> None:
        if after:
            await asyncio.wait(after)
        await asyncio.sleep(delay)
        async with container.lock:
            container.restarting = None
            if container.state.status != status or services.closing or container.claimed:
                return
            if status != "restarting":
                _begin_anew(container)
            try:
                await _start_locked(services, container, automatic=True)
            except WherryError as error:
                log.error("restart container %s: %s", container.id, error)

    container.delay = delay
    container.restarting = services.spawn(wait_and_start(), f"restarting {container.id}")
    return container.restarting


def _remove_later(services: Services, container: Container) -> None:
    """Remove a container that was made to go away by itself."""

    async def remove_it() -> None:
        async with container.lock:
            if not container.removed and not container.state.alive:
                await remove.take_away(services, container, volumes=True)

    services.spawn(remove_it(), f"removing container {container.id}")


def resume(services: Services, found: Mapping[str, State]) -> None:
    """Go on, in the background, with what a former engine left to do, when all containers are
    known: removals, restarts that were due, and starts of what is to run whenever the engine does.

    ``found`` are the states in which the engine has found them: what somebody has started or
    stopped since is not started for its having run before. Those whose namespaces others join, or
    whose addresses others know, are started before them.
    """
    due: dict[str, Container] = {}
    for container in services:
        untouched = found.get(container.id) is container.state
        if container.state.status == "restarting" or (untouched and _wanted(container)):
            due[container.id] = container
        elif container.state.status == "exited" and container.record.host.auto_remove:
            _remove_later(services, container)
    needs = {key: {one.id for one in _needed(services, due[key])} & set(due) for key in due}
    tasks: dict[str, asyncio.Task[None]] = {}
    for key in aftermath.in_order(needs):
        before = [tasks[needed] for needed in needs[key] if needed in tasks]
        delay = aftermath.FIRST_DELAY if due[key].state.status == "restarting" else 0.0
        tasks[key] = _restart_later(services, due[key], delay, before)


def _wanted(container: Container) -> bool:
    """Whether a container is to run whenever the engine does."""
    state, policy = container.state, container.record.host.restart_policy
    return state.status == "exited" and aftermath.wanted_at_opening(
        policy, state.exit_code, state.restart_count, stopped_by_user=state.stopped_by_user
    )


def _needed(services: Services, container: Container) -> Iterator[Container]:
    """The containers that have to run before this one can."""
    yield from namespaces.donors(services, container.record.host).values()
    yield from links.targets(services, container)


def _forget_restart(container: Container) -> None:
    if container.restarting is not None:
        container.restarting.cancel()
        container.restarting = None


def _cancel_restart(services: Services, container: Container) -> bool:
    """Give up a restart that is due; whether there was one. The container's lock is held."""
    _forget_restart(container)
    if container.state.status != "restarting":
        return False
    services.note_state(container, replace(container.state.to("exited"), stopped_by_user=True))
    container.tell_stopped()
    return True


async def _stopped_between_runs(services: Services, container: Container) -> bool:
    """Keep a container that waits for its restart from starting; whether it was waiting."""
    if container.state.status != "restarting":
        return False
    async with container.lock:  # a start that is under way is not cut off: it is stopped after
        return _cancel_restart(services, container)


# Stopping


async def stop_container(
    services: Services, container: Container, patience: int | None, signal_name: str | None
) -> None:
    """``POST /containers/{id}/stop``: the stop signal, then SIGKILL after ``patience`` seconds.

    Raises NotModified when it does not run. A negative number waits for ever.
    """
    number = stop.stop_signal(container, signal_name)
    if not container.state.running:
        raise NotModified(f"container {container.id} does not run")
    while container.state.running:
        if await _stopped_between_runs(services, container):
            break
        if await stop.stop(services, container, patience, number):
            break
    services.publish(container, "stop")


async def kill_container(services: Services, container: Container, number: int) -> None:
    """``POST /containers/{id}/kill``; raises Conflict when it does not run."""
    if not await _stopped_between_runs(services, container):
        await stop.kill(services, container, number)


async def restart_container(
    services: Services, container: Container, patience: int | None, signal_name: str | None
) -> None:
    """``POST /containers/{id}/restart``: stop when it runs, then start."""
    number = stop.stop_signal(container, signal_name)
    if container.removed or container.leaving or container.state.status in ("removing", "dead"):
        raise Conflict("container is marked for removal and cannot be started")
    if container.state.alive:
        container.claims += 1  # it must outlive its own end
        try:
            await stop.stop(services, container, patience, number)
            services.publish(container, "stop")
        finally:
            container.claims -= 1
    with contextlib.suppress(NotModified):
        await start_container(services, container)
    services.publish(container, "restart")


async def stop_with_engine(services: Services, container: Container, limit: int) -> None:
    """End a container together with the engine, which is closing; see `stop.shut_down`."""
    async with container.lock:  # a start that is under way is over then, and no other follows
        status = container.state.status
    try:
        if status == "paused":
            await freeze.unpause(services, container)
        await stop.shut_down(services, container, limit)
    except WherryError as error:
        log.error("stop container %s: %s", container.id, error)


# Removing


async def remove_container(
    services: Services, container: Container, *, force: bool, volumes: bool
) -> None:
    """``DELETE /containers/{id}``; ``force`` kills first. Raises Conflict while it runs.

    From here on nobody can start it, so that also a container that starts again and again is
    killed once.
    """
    remove.check_removable(container, force=force)
    container.leaving = True
    try:
        while not container.removed:
            if force and container.state.alive:
                await stop.kill_for_removal(services, container)
            async with container.lock:
                if container.removed or (force and container.state.alive):
                    continue  # a start was under way: that run is to be killed, too
                if force:
                    _cancel_restart(services, container)
                remove.check_removable(container, force=False, ours=True)
                await remove.take_away(services, container, volumes=volumes)
    finally:
        container.leaving = False


async def remove_all(services: Services) -> None:
    """Kill and remove every container, for engines that leave nothing."""
    jobs = [
        remove_container(services, container, force=True, volumes=True) for container in services
    ]
    await asyncio.gather(*jobs, return_exceptions=True)
