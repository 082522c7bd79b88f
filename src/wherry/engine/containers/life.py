"""The life of a container: what is asked of it from outside, and what follows by itself.

The steps of starting, stopping, ending and removing are in modules that know nothing of each
other. Here they are put together: a container that was started is watched, one that has ended
rests, starts again or goes away, as `aftermath` decides. Only the facade and the adoption of
containers use this module.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from wherry.engine.containers import aftermath, end, freeze, remove, start, stop
from wherry.engine.containers.aftermath import Next
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services, log
from wherry.errors import Conflict, NotModified, Unavailable, WherryError
from wherry.runtime.bundle import ExitStatus
from wherry.runtime.client import Shim
from wherry.runtime.messages import Message

# Starting


async def start_container(services: Services, container: Container) -> None:
    """``POST /containers/{id}/start``.

    Raises NotModified when it runs already, Conflict when its state forbids it.
    """
    await _start(services, container, automatic=False)


async def _start(services: Services, container: Container, *, automatic: bool) -> None:
    async with container.lock:
        start.check_startable(container)
        _forget_restart(container)
        container.state = replace(container.state, stopped_by_user=False, restart_count=0)
        container.delay = 0.0
        await _start_locked(services, container, automatic=automatic)


async def _start_locked(services: Services, container: Container, *, automatic: bool) -> None:
    """Start and watch; a start that nobody asked for now is tried again as an end would be."""
    try:
        await start.run(services, container)
    except BaseException as error:
        told = start.refusal(error)
        _follow(services, container, start.failed(services, container, error, automatic=automatic))
        if told is error:
            raise
        raise told from error
    if container.shim is not None:
        watch(services, container, container.shim)


def start_with_engine(services: Services, container: Container) -> None:
    """Start a container that does not run, in the background, when its policy wants it to run
    whenever the engine does.
    """
    state, policy = container.state, container.record.host.restart_policy
    if state.status != "exited" or container.removed:
        return
    if not aftermath.wanted_at_opening(
        policy, state.exit_code, state.restart_count, stopped_by_user=state.stopped_by_user
    ):
        return

    async def begin() -> None:
        try:
            await _start(services, container, automatic=True)
        except WherryError as error:
            log.error("start container %s: %s", container.id, error)

    services.spawn(begin(), f"starting container {container.id}")


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
            await ended(services, container, status)


async def ended(services: Services, container: Container, status: ExitStatus) -> None:
    """Take note of an end, and let follow what is to follow; the container's lock is held."""
    _follow(services, container, await end.ended(services, container, status))


def _follow(services: Services, container: Container, following: Next) -> None:
    if following.action == "restart":
        restart_later(services, container, following.delay)
    elif following.action == "remove":
        remove_later(services, container)


def restart_later(services: Services, container: Container, delay: float) -> None:
    """Start a container again after ``delay`` seconds, unless somebody stops it meanwhile."""

    async def wait_and_start() -> None:
        await asyncio.sleep(delay)
        async with container.lock:
            container.restarting = None
            if container.state.status != "restarting" or services.closing or container.leaving:
                return
            try:
                await _start_locked(services, container, automatic=True)
            except WherryError as error:
                log.error("restart container %s: %s", container.id, error)

    container.delay = delay
    container.restarting = services.spawn(wait_and_start(), f"restarting {container.id}")


def remove_later(services: Services, container: Container) -> None:
    """Remove a container that was made to go away by itself."""

    async def remove_it() -> None:
        async with container.lock:
            if not container.removed and not container.state.alive:
                await remove.take_away(services, container, volumes=True)

    services.spawn(remove_it(), f"removing container {container.id}")


def _forget_restart(container: Container) -> None:
    if container.restarting is not None:
        container.restarting.cancel()
        container.restarting = None


def _cancel_restart(services: Services, container: Container) -> bool:
    """Give up a restart that is due; whether there was one. The container's lock is held."""
    _forget_restart(container)
    if container.state.status != "restarting":
        return False
    services.set_state(container, replace(container.state.to("exited"), stopped_by_user=True))
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
