"""The memory controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.linux.cgroups.files import Reader, Setting, number, table

NAME = "memory"


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Bytes; ``limit`` is 2**64-1 where there is none."""

    usage: int = 0
    max_usage: int = 0
    limit: int = 2**64 - 1
    failures: int = 0
    detail: Mapping[str, int] = field(default_factory=dict)


def settings_v1(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v1."""
    memory = resources.get("memory") or {}
    result = []
    if memory.get("limit"):
        result.append(Setting("memory.limit_in_bytes", str(memory["limit"])))
    if memory.get("swap"):
        result.append(Setting("memory.memsw.limit_in_bytes", str(memory["swap"]), optional=True))
    if memory.get("reservation"):
        result.append(Setting("memory.soft_limit_in_bytes", str(memory["reservation"])))
    if memory.get("kernel"):
        result.append(Setting("memory.kmem.limit_in_bytes", str(memory["kernel"]), optional=True))
    if memory.get("kernelTCP"):
        result.append(Setting("memory.kmem.tcp.limit_in_bytes", str(memory["kernelTCP"]), True))
    swappiness = memory.get("swappiness")
    if swappiness is not None and 0 <= swappiness <= 100:
        result.append(Setting("memory.swappiness", str(swappiness)))
    if memory.get("disableOOMKiller") is not None:
        result.append(
            Setting("memory.oom_control", str(int(memory["disableOOMKiller"])), optional=True)
        )
    return result


def settings_v2(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v2; its swap limit counts swap alone."""
    memory = resources.get("memory") or {}
    result = []
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit:
        result.append(Setting("memory.max", _or_max(limit)))
    if swap:
        alone = -1 if swap < 0 or limit <= 0 else max(0, swap - limit)
        result.append(Setting("memory.swap.max", _or_max(alone), optional=True))
    if memory.get("reservation"):
        result.append(Setting("memory.low", _or_max(memory["reservation"])))
    return result


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def stats_v1(read: Reader) -> MemoryStats:
    """Counters of cgroup v1."""
    limit = number(read("memory.limit_in_bytes"), 2**64 - 1)
    detail = table(read("memory.stat"))
    return MemoryStats(
        usage=number(read("memory.usage_in_bytes")),
        max_usage=number(read("memory.max_usage_in_bytes")),
        limit=limit,
        failures=number(read("memory.failcnt")),
        detail=detail,
    )


def stats_v2(read: Reader) -> MemoryStats:
    """Counters of cgroup v2."""
    return MemoryStats(
        usage=number(read("memory.current")),
        max_usage=number(read("memory.peak")),
        limit=number(read("memory.max"), 2**64 - 1),
        failures=table(read("memory.events")).get("max", 0),
        detail=table(read("memory.stat")),
    )


def oom_kills_v1(read: Reader) -> int:
    """How many processes the OOM killer took."""
    return table(read("memory.oom_control")).get("oom_kill", 0)


def oom_kills_v2(read: Reader) -> int:
    """How many processes the OOM killer took, in descendants too."""
    return table(read("memory.events")).get("oom_kill", 0)
