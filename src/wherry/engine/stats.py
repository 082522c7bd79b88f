"""``docker stats``: counters of cgroup, network and host as the API shows them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.errors import NotFound
from wherry.linux.cgroups import Cgroup, CgroupStats
from wherry.timestamps import rfc3339

INTERVAL = 1.0  # seconds between samples
_NEVER = "0001-01-01T00:00:00Z"
_NETWORK_FIELDS = {
    "rx_bytes": 0, "rx_packets": 1, "rx_errors": 2, "rx_dropped": 3,
    "tx_bytes": 8, "tx_packets": 9, "tx_errors": 10, "tx_dropped": 11,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """All counters of a running container at ``at`` (nanoseconds since 1970)."""

    at: int
    cgroup: CgroupStats
    system_cpu: int
    cpus: int
    host_memory: int
    networks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def sample(cgroup: Cgroup, pid: int) -> Sample:
    """Read the counters of the container whose init is ``pid`` (host view); blocks briefly."""
    return Sample(
        at=time.time_ns(),
        cgroup=cgroup.stats(),
        system_cpu=_system_cpu(),
        cpus=len(os.sched_getaffinity(0)),
        host_memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        networks=_networks(pid),
    )


def view(
    container_id: str, name: str, now: Sample | None, before: Sample | None = None
) -> dict[str, Any]:
    """The object of ``GET /containers/{id}/stats``; ``now`` is None for a stopped container."""
    return {
        "id": container_id,
        "name": f"/{name.removeprefix('/')}",
        "os_type": "linux",
        "read": rfc3339(now.at) if now else _NEVER,
        "preread": rfc3339(before.at) if before else _NEVER,
        "pids_stats": _pids(now) if now else {},
        "blkio_stats": _blkio(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(before),
        "memory_stats": _memory(now) if now else {},
        **({"networks": {key: dict(row) for key, row in now.networks.items()}} if now else {}),
    }


async def views(
    container_id: str,
    name: str,
    read: Callable[[], Sample | None],
    *,
    stream: bool,
    one_shot: bool = False,
) -> AsyncIterator[dict[str, Any]]:
    """The objects of ``GET /containers/{id}/stats``.

    With ``stream`` one a second until ``read`` raises NotFound (the container is gone); else one,
    made of two samples ``INTERVAL`` apart so that rates can be told, or of one with ``one_shot``.
    ``read`` takes a sample in a thread; it gives None while the container does not run.
    """
    before = None
    now = await asyncio.to_thread(read)
    if not stream and not one_shot and now is not None:
        await asyncio.sleep(INTERVAL)
        before, now = now, await asyncio.to_thread(read)
    while True:
        yield view(container_id, name, now, before)
        if not stream:
            return
        await asyncio.sleep(INTERVAL)
        try:
            before, now = now, await asyncio.to_thread(read)
        except NotFound:
            return


def parse_net_dev(text: str) -> dict[str, dict[str, int]]:
    """Counters of each interface but the loopback from /proc/PID/net/dev (proc_pid_net(5))."""
    counters = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = rest.split()
        if name.strip() != "lo" and len(values) > max(_NETWORK_FIELDS.values()):
            counters[name.strip()] = {
                key: int(values[position]) for key, position in _NETWORK_FIELDS.items()
            }
    return counters


def _pids(now: Sample) -> dict[str, int]:
    pids = now.cgroup.pids
    # Docker shows the largest unsigned number where there is no limit.
    return {"current": pids.current, "limit": pids.limit or 2**64 - 1}


def _cpu(now: Sample | None) -> dict[str, Any]:
    if now is None:
        return {
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        }
    cpu, throttling = now.cgroup.cpu, now.cgroup.throttling
    usage: dict[str, Any] = {"total_usage": cpu.total}
    if cpu.per_cpu:
        usage["percpu_usage"] = list(cpu.per_cpu)
    usage["usage_in_kernelmode"] = cpu.kernel
    usage["usage_in_usermode"] = cpu.user
    return {
        "cpu_usage": usage,
        "system_cpu_usage": now.system_cpu,
        "online_cpus": now.cpus,
        "throttling_data": {
            "periods": throttling.periods,
            "throttled_periods": throttling.throttled_periods,
            "throttled_time": throttling.throttled_time,
        },
    }


def _memory(now: Sample) -> dict[str, Any]:
    memory = now.cgroup.memory
    result: dict[str, Any] = {"usage": memory.usage}
    if memory.max_usage:
        result["max_usage"] = memory.max_usage
    result["stats"] = dict(memory.detail)
    if memory.failures:
        result["failcnt"] = memory.failures
    result["limit"] = min(memory.limit, now.host_memory)
    return result


def _blkio(now: Sample | None) -> dict[str, Any]:
    empty: list[Any] | None = None if now is None else []
    result: dict[str, Any] = {
        "io_service_bytes_recursive": empty,
        "io_serviced_recursive": empty,
        "io_queue_recursive": empty,
        "io_service_time_recursive": empty,
        "io_wait_time_recursive": empty,
        "io_merged_recursive": empty,
        "io_time_recursive": empty,
        "sectors_recursive": empty,
    }
    if now is not None:
        for key, entries in (
            ("io_service_bytes_recursive", now.cgroup.io.bytes),
            ("io_serviced_recursive", now.cgroup.io.operations),
        ):
            result[key] = [
                {"major": e.major, "minor": e.minor, "op": e.operation, "value": e.value}
                for e in entries
            ]
    return result


def _system_cpu() -> int:
    """Nanoseconds that all processors have run and idled, as dockerd counts them (proc_stat(5))."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = sum(int(value) for value in file.readline().split()[1:8])
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _networks(pid: int) -> dict[str, dict[str, int]]:
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            return parse_net_dev(file.read())
    except OSError:  # it has ended meanwhile
        return {}
