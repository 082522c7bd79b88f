"""Stopping and killing: signals to a running container, and the wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace
from typing import Any

from wherry import faults
from wherry.engine.config.signals import parse_signal
from wherry.engine.containers.container import Container
from wherry.engine.containers.freeze import set_frozen
from wherry.engine.containers.liveness import has_ended
from wherry.engine.containers.services import Services, log
from wherry.errors import Conflict, NotFound, Unavailable, WherryError
from wherry.linux.cgroups import Cgroup

_PATIENCE = 10
_AFTER_KILL = 10.0
"""Seconds in which a killed container has to end before the whole cgroup is killed."""


async def stop(services: Services, container: Container, wanted: int | None, number: int) -> bool:
    """The signal ``number``, then SIGKILL after ``wanted`` seconds (None: its own stop timeout).

    A negative number waits for ever. Returns False when it ended by itself before it could get
    the signal: then its policy may start it again. Raises Conflict when it does not run.
    """
    patience = wanted if wanted is not None else container.record.config.stop_timeout
    patience = _PATIENCE if patience is None else patience
    ended = asyncio.ensure_future(container.wait("next-exit"))
    if container.state.alive and container.shim is None:
        await ended
        return False
    await _send(services, container, number, by_user=True)
    done, _ = await asyncio.wait([ended], timeout=None if patience < 0 else patience)
    if not done:
        await _kill_hard(services, container, ended)
    return True


async def _kill_hard(services: Services, container: Container, ended: asyncio.Future[Any]) -> None:
    with contextlib.suppress(Conflict):
        await _send(services, container, signal.SIGKILL, by_user=True)
    done, _ = await asyncio.wait([ended], timeout=_AFTER_KILL)
    if not done:
        await asyncio.to_thread(Cgroup(services.cgroup(container.record)).kill)
        done, _ = await asyncio.wait([ended], timeout=_AFTER_KILL)
    if not done:
        raise WherryError(
            f"stop container {container.id}: its processes do not end, not even by SIGKILL"
        )


def stop_signal(container: Container, name: str | None) -> int:
    """The signal of this name, or else the one that is to end this container."""
    return parse_signal(name or container.record.config.stop_signal or "SIGTERM")


async def shut_down(services: Services, container: Container, limit: int) -> None:
    """End a container together with the engine; not as if a person had stopped it.

    After ``limit`` seconds (-1: never), or its own stop timeout, it is killed.
    """
    if not container.state.alive:
        return
    ended = asyncio.ensure_future(container.wait("next-exit"))
    patience = container.record.config.stop_timeout
    patience = _PATIENCE if patience is None else patience
    bounds = [seconds for seconds in (patience, limit) if seconds >= 0]
    try:
        await _send(services, container, stop_signal(container, None), by_user=False)
        done, _ = await asyncio.wait([ended], timeout=min(bounds) if bounds else None)
        if not done:
            await _send(services, container, signal.SIGKILL, by_user=False)
            await asyncio.wait([ended], timeout=_AFTER_KILL)
        if container.record.host.auto_remove:
            await asyncio.wait_for(container.wait("removed"), _AFTER_KILL)
    except (WherryError, TimeoutError) as error:
        log.error("stop container %s: %s", container.id, error)
    finally:
        ended.cancel()


async def kill_for_removal(services: Services, container: Container) -> None:
    """SIGKILL, and wait for the end."""
    ended = asyncio.ensure_future(container.wait("next-exit"))
    if not container.state.alive:
        ended.cancel()
        return
    await _kill_hard(services, container, ended)


async def kill(services: Services, container: Container, number: int) -> None:
    """``POST /containers/{id}/kill``; raises Conflict when it does not run."""
    wanted = container.record.config.stop_signal
    final = number == signal.SIGKILL or not wanted or parse_signal(wanted) == number
    if number != signal.SIGKILL:
        await _send(services, container, number, by_user=final)
        return
    ended = asyncio.ensure_future(container.wait("next-exit"))
    try:
        await _send(services, container, number, by_user=True)
    except BaseException:
        ended.cancel()
        raise
    await asyncio.wait([ended], timeout=_AFTER_KILL)


async def _send(services: Services, container: Container, number: int, *, by_user: bool) -> None:
    shim = container.shim
    if not container.state.alive or shim is None:
        raise Conflict(f"container {container.id} is not running")
    marked = by_user and not container.state.stopped_by_user
    if marked:
        container.state = replace(container.state, stopped_by_user=True)
    try:
        await shim.signal(number)
    except (NotFound, Unavailable):
        pass  # it has just ended, and the engine is to hear of it
    except WherryError:
        if not has_ended(container):
            raise
    if marked:
        services.note_state(container, container.state)
        faults.point("kill.marked")
    services.publish(container, "kill", {"signal": str(int(number))})
    if container.state.status == "paused" and by_user:
        await _thaw(services, container)


async def _thaw(services: Services, container: Container) -> None:
    """Let a paused container meet its signal."""
    try:
        await asyncio.to_thread(set_frozen, services, container, False)
    except WherryError:
        if not has_ended(container):
            raise
    if container.state.status == "paused":
        services.note_state(container, container.state.to("running"))
        services.publish(container, "unpause")
