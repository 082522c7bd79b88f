"""``docker update``: other limits and another restart policy, also while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wherry import faults
from wherry.engine.config import rules
from wherry.engine.config.codec import decode
from wherry.engine.config.host import HostConfig, Resources, RestartPolicy
from wherry.engine.config.limits import check_resources
from wherry.engine.config.merge import no_restart
from wherry.engine.containers.container import Container
from wherry.engine.containers.liveness import has_ended
from wherry.engine.containers.services import Services
from wherry.engine.spec.resources import linux_resources
from wherry.errors import Conflict, InvalidParameter, KernelError, WherryError
from wherry.linux.cgroups import Cgroup


async def update(
    services: Services, container: Container, body: Mapping[str, Any]
) -> dict[str, Any]:
    """Change what the body names: {"Warnings"}. Raises InvalidParameter and Conflict."""
    given = decode(Resources, body)
    policy = _policy(body)
    given, warnings = check_resources(given, services.facts.limits, update=True)
    async with container.lock:
        if container.removed or container.state.status in ("removing", "dead"):
            raise Conflict(
                'Cannot update container: container is marked for removal and cannot be "update".'
            )
        host = merged(container.record.host, given)
        if policy is not None:
            if container.record.host.auto_remove and not no_restart(policy):
                raise InvalidParameter(
                    "Restart policy cannot be updated because AutoRemove is enabled for the"
                    " container"
                )
            host = replace(host, restart_policy=policy)
        if container.state.alive:
            await asyncio.to_thread(_apply, services, container, host)
        faults.point("update.applied")
        services.set_record(container, replace(container.record, host=host))
        services.publish(container, "update")
    return {"Warnings": warnings or None}


def _policy(body: Mapping[str, Any]) -> RestartPolicy | None:
    given = next((value for key, value in body.items() if key.lower() == "restartpolicy"), None)
    if given is None:
        return None
    policy = decode(RestartPolicy, given)
    if not policy.name:
        return None
    rules.check_restart_policy(policy)
    return policy


_CHANGEABLE = (
    "blkio_weight", "cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpu_realtime_period",
    "cpu_realtime_runtime", "cpuset_cpus", "cpuset_mems", "memory", "memory_swap",
    "memory_reservation", "pids_limit",
)  # fmt: skip
"""What an update changes, as with Docker; the rest of Resources, such as the cgroup that the
container is in, is fixed at its creation and ignored (moby, ``UpdateContainer``)."""


def merged(host: HostConfig, given: Resources) -> HostConfig:
    """``host`` with the resources that were named; raises Conflict for contradictions."""
    if given.nano_cpus and (host.cpu_period or host.cpu_quota):
        name = "Period" if host.cpu_period else "Quota"
        raise Conflict(
            f"Conflicting options: Nano CPUs cannot be updated as CPU {name} has already been set"
        )
    if host.nano_cpus and (given.cpu_period or given.cpu_quota):
        name = "Period" if given.cpu_period else "Quota"
        raise Conflict(
            f"Conflicting options: CPU {name} cannot be updated as NanoCPUs has already been set"
        )
    if given.memory and not given.memory_swap and 0 < host.memory_swap < given.memory:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the"
            " memoryswap at the same time"
        )
    named = {
        name: value for name in _CHANGEABLE if (value := getattr(given, name)) not in (0, "", None)
    }
    return replace(host, **named)


def _apply(services: Services, container: Container, host: HostConfig) -> None:
    resources = linux_resources(host)
    if host.pids_limit is not None and host.pids_limit < 0:
        resources["pids"] = {"limit": -1}
    try:
        Cgroup(services.cgroup(container.record)).apply(resources)
    except KernelError as error:
        if has_ended(container):
            return  # the new limits are those of its next run
        raise WherryError(f"Cannot update container {container.id}: {error}") from error
