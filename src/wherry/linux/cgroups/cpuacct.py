"""CPU time used; a controller of its own on v1, a part of the core on v2."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wherry.linux.cgroups.files import Reader, number, table

NAME = "cpuacct"


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """Nanoseconds. ``per_cpu`` is empty on v2."""

    total: int = 0
    user: int = 0
    kernel: int = 0
    per_cpu: tuple[int, ...] = ()


def usage_v1(read: Reader) -> CpuUsage:
    """Counters of cgroup v1; user and system time come in clock ticks."""
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    stat = table(read("cpuacct.stat"))
    per_cpu = tuple(int(value) for value in (read("cpuacct.usage_percpu") or "").split())
    return CpuUsage(
        total=number(read("cpuacct.usage")),
        user=stat.get("user", 0) * tick,
        kernel=stat.get("system", 0) * tick,
        per_cpu=per_cpu,
    )


def usage_v2(read: Reader) -> CpuUsage:
    """Counters of cgroup v2."""
    stat = table(read("cpu.stat"))
    return CpuUsage(
        total=stat.get("usage_usec", 0) * 1000,
        user=stat.get("user_usec", 0) * 1000,
        kernel=stat.get("system_usec", 0) * 1000,
    )
