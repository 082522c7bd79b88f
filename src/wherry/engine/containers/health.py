"""Health checks: a command in the container now and then, and what its results mean."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Sequence

from wherry.builder.imageconfig import go_duration
from wherry.engine.config.container import ContainerConfig, HealthConfig
from wherry.engine.containers.container import Container
from wherry.engine.containers.healthstate import Health, Result
from wherry.engine.containers.services import Services
from wherry.engine.spec.runtimespec import process
from wherry.errors import WherryError
from wherry.runtime.client import AttachRequest, Shim
from wherry.timestamps import SECOND

_INTERVAL = 30 * SECOND
_TIMEOUT = 30 * SECOND
_START_INTERVAL = 5 * SECOND
_RETRIES = 3
_LONGEST_OUTPUT = 4096


def command(config: ContainerConfig) -> Sequence[str]:
    """The words that a check executes; none when there is no check."""
    health = config.healthcheck
    test = (health.test if health else None) or ()
    if not test or test[0] in ("NONE", ""):
        return ()
    if test[0] == "CMD":
        return test[1:]
    return (*(config.shell or ("/bin/sh", "-c")), *test[1:])


def begin(services: Services, container: Container, *, again: bool = False) -> None:
    """Check a container's health from now on, if it has a check.

    ``again``: it was checked before, by an engine that is gone; what that found still counts.
    """
    if not command(container.record.config):
        container.health = None
        return
    if container.health is None or not again:
        services.note_health(container, Health())
    container.health_task = services.spawn(
        _check_on(services, container), f"checking the health of {container.id}"
    )


def end(container: Container) -> None:
    """Check no more; what was found stays, and the container counts as unhealthy.

    It is for the caller to note that, with the state in which this leaves the container.
    """
    if container.health_task is not None:
        container.health_task.cancel()
        container.health_task = None
    if container.health is not None:
        container.health = container.health.ended()


async def _check_on(services: Services, container: Container) -> None:
    config = container.record.config
    wanted = config.healthcheck or HealthConfig()
    retries = wanted.retries or _RETRIES
    begun = container.state.started
    health = container.health or Health()
    while (shim := container.shim) is not None:
        starting = time.time_ns() < begun + wanted.start_period
        interval = wanted.interval or _INTERVAL
        if starting and health.status == "starting":
            interval = wanted.start_interval or _START_INTERVAL
        await asyncio.sleep(interval / SECOND)
        if container.state.status == "paused":
            continue
        result = await _check(services, container, shim, wanted.timeout or _TIMEOUT)
        if result is None:
            return
        starting = result.start < begun + wanted.start_period
        before, health = health.status, health.after(result, retries, starting=starting)
        services.note_health(container, health)
        if health.status != before:
            services.publish(container, f"health_status: {health.status}")


async def _check(
    services: Services, container: Container, shim: Shim, patience: int
) -> Result | None:
    """Run one check; None when the container has ended."""
    given = container.spec
    if given is None:
        return None
    words = command(container.record.config)
    exec_id = secrets.token_hex(32)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    described = {**process(given), "args": list(words), "terminal": False}
    begun = time.time_ns()
    shown = " ".join(words)
    services.publish(container, f"exec_create: {shown}", {"execID": exec_id})
    services.publish(container, f"exec_start: {shown}", {"execID": exec_id})
    with ours:
        try:
            await shim.exec(exec_id, described, tty=False, attach=AttachRequest(theirs))
        except WherryError as error:
            if not container.state.alive:
                return None
            return Result(
                begun, time.time_ns(), 127 if "not found" in str(error) else 1, f"{error}"
            )
        reading = asyncio.ensure_future(_read(ours))
        try:
            async with asyncio.timeout(patience / SECOND):
                status = await shim.wait_exec(exec_id)
                output = await reading
        except TimeoutError:
            with contextlib.suppress(WherryError):
                await shim.signal(9, exec_id)
            output_text = f"Health check exceeded timeout ({go_duration(patience)})"
            return Result(begun, time.time_ns(), -1, output_text)
        except WherryError:
            return None
        finally:
            reading.cancel()
    services.publish(container, "exec_die", {"execID": exec_id, "exitCode": str(status.code)})
    text = output[:_LONGEST_OUTPUT].decode(errors="replace")
    return Result(begun, time.time_ns(), status.code, text)


async def _read(sock: socket.socket) -> bytes:
    """All that a check prints, bounded; the rest is read and dropped."""
    loop = asyncio.get_running_loop()
    output = bytearray()
    while data := await loop.sock_recv(sock, 65536):
        if len(output) < _LONGEST_OUTPUT:
            output += data
    return bytes(output)
