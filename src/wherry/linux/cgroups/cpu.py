"""The cpu controller: shares, bandwidth, real-time bandwidth, throttling counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.linux.cgroups.files import Reader, Setting, table

NAME = "cpu"


@dataclass(frozen=True, slots=True)
class Throttling:
    """Enforcement periods in all, those that were throttled, and the nanoseconds lost."""

    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


def settings_v1(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v1."""
    cpu = resources.get("cpu") or {}
    result = []
    if cpu.get("shares"):
        result.append(Setting("cpu.shares", str(cpu["shares"])))
    if cpu.get("period"):
        result.append(Setting("cpu.cfs_period_us", str(cpu["period"])))
    if cpu.get("quota"):
        result.append(Setting("cpu.cfs_quota_us", str(cpu["quota"])))
    if cpu.get("burst") is not None:
        result.append(Setting("cpu.cfs_burst_us", str(cpu["burst"])))
    if cpu.get("realtimePeriod"):
        result.append(Setting("cpu.rt_period_us", str(cpu["realtimePeriod"])))
    if cpu.get("realtimeRuntime"):
        result.append(Setting("cpu.rt_runtime_us", str(cpu["realtimeRuntime"])))
    if cpu.get("idle") is not None:
        result.append(Setting("cpu.idle", str(cpu["idle"])))
    return result


def settings_v2(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v2."""
    cpu = resources.get("cpu") or {}
    result = []
    if cpu.get("idle"):
        result.append(Setting("cpu.idle", str(cpu["idle"])))
    elif cpu.get("shares"):
        result.append(Setting("cpu.weight", str(weight_of_shares(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or 0
        period = cpu.get("period") or 100000
        result.append(Setting("cpu.max", f"{quota if quota > 0 else 'max'} {period}"))
    if cpu.get("burst") is not None:
        result.append(Setting("cpu.max.burst", str(cpu["burst"])))
    return result


def weight_of_shares(shares: int) -> int:
    """v1 shares (2 to 262144) as a v2 weight (1 to 10000), linearly as Docker does."""
    bounded = min(max(shares, 2), 262144)
    return 1 + (bounded - 2) * 9999 // 262142


def throttling_v1(read: Reader) -> Throttling:
    """Counters of cgroup v1."""
    stat = table(read("cpu.stat"))
    return Throttling(
        stat.get("nr_periods", 0), stat.get("nr_throttled", 0), stat.get("throttled_time", 0)
    )


def throttling_v2(read: Reader) -> Throttling:
    """Counters of cgroup v2."""
    stat = table(read("cpu.stat"))
    return Throttling(
        stat.get("nr_periods", 0),
        stat.get("nr_throttled", 0),
        stat.get("throttled_usec", 0) * 1000,
    )
