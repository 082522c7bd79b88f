"""What happens when a container ends: what it held is given back, and its state tells how."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator

from wherry import faults
from wherry.engine.containers import health, namespaces
from wherry.engine.containers.aftermath import Next, after_end
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services, log
from wherry.errors import KernelError, WherryError
from wherry.linux.cgroups import Cgroup
from wherry.runtime.bundle import ExitStatus, read_exit
from wherry.runtime.client import Shim
from wherry.runtime.foreign import ForeignRuntime
from wherry.timestamps import SECOND

_KILLED = 137


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


async def ended(services: Services, container: Container, status: ExitStatus) -> Next:
    """Take note of an end; the container's lock is held. Returns what is to follow."""
    faults.point("end.seen")
    health.end(container)
    before = container.state
    finished = max(int(status.at * SECOND), before.started)
    ran = finished - before.started
    following = after_end(
        container.record.host,
        before,
        status.code,
        ran=ran,
        delay=container.delay,
        claimed=container.claimed,
        closing=services.closing,
    )
    again = following.action == "restart"
    shim, container.shim = container.shim, None
    await _release(services, container, shim)
    services.note_state(
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
    services.publish(
        container,
        "die",
        {"execDuration": str(ran // SECOND), "exitCode": str(status.code)},
    )
    container.tell_stopped()
    return following


async def _release(services: Services, container: Container, shim: Shim | None) -> None:
    """Give back what a running container holds, so that others may have it at once."""
    record = container.record
    if shim is not None:
        container.cleanup = services.spawn(shim.delete(), f"ending the shim of {record.id}")
    faults.point("end.shim-deleted")
    with _whatever_fails("release the networks", record.id):
        await services.networks.detach(record.id)
    faults.point("end.network-released")
    if record.mounts:
        with _whatever_fails("unmount the volumes", record.id):
            await asyncio.to_thread(services.volumes.unmount, record.id, tell=True)
    with _whatever_fails("unmount the shared memory", record.id):
        namespaces.unmount_shm(services, record)


@contextlib.contextmanager
def _whatever_fails(what: str, container_id: str) -> Iterator[None]:
    """An end cannot be refused: what fails is logged, and the other steps follow."""
    try:
        yield
    except (WherryError, OSError) as error:
        log.error("%s of container %s: %s", what, container_id, error)
