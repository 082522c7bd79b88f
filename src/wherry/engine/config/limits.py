"""Rules about resources: what is refused, and what this host cannot do and is dropped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from wherry.engine.config.host import Resources
from wherry.errors import InvalidParameter
from wherry.linux.rlimits import NUMBERS
from wherry.numbers import whole_number

_SMALLEST_MEMORY = 6 << 20

R = TypeVar("R", bound=Resources)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the rules have to know about the host.

    ``cgroup_version`` is 1 or 2; ``controllers`` are names of usable ones.
    """

    cpus: frozenset[int]
    memory_nodes: frozenset[int]
    cgroup_version: int
    controllers: frozenset[str]
    swap_limit: bool = True


def check_resources(given: R, facts: HostFacts, *, update: bool = False) -> tuple[R, list[str]]:
    """``given`` without what the host does not offer, and warnings about that.

    Raises InvalidParameter in Docker's words.
    """
    warnings: list[str] = []
    given = _check_memory(given, facts, warnings, update)
    _check_cpu(given, facts)
    if given.blkio_weight and not 10 <= given.blkio_weight <= 1000:
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    for device in given.blkio_weight_device or ():
        if device.weight and not 10 <= device.weight <= 1000:
            raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    if given.pids_limit is not None and given.pids_limit <= 0 and not update:
        given = replace(given, pids_limit=None)
    if given.io_maximum_bandwidth or given.io_maximum_iops:
        warnings.append("Maximum I/O settings are for Windows containers only. Discarded.")
    check_ulimits(given)
    return given, warnings


def check_ulimits(given: Resources) -> None:
    """Raise InvalidParameter for limits that cannot be."""
    for limit in given.ulimits or ():
        if f"RLIMIT_{limit.name.upper()}" not in NUMBERS:
            raise InvalidParameter(f"invalid ulimit type: {limit.name}")
        if limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1):
            raise InvalidParameter(
                "ulimit soft limit must be less than or equal to hard limit:"
                f" {limit.soft} > {limit.hard}"
            )


def _check_memory(given: R, facts: HostFacts, warnings: list[str], update: bool) -> R:
    if given.memory and given.memory < _SMALLEST_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    given = _check_swap(given, facts, warnings, update)
    given = _check_swappiness(given, facts, warnings)
    if given.memory_reservation and given.memory_reservation < _SMALLEST_MEMORY:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if 0 < given.memory < given.memory_reservation:
        raise InvalidParameter(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    return _check_oom_killer(given, facts, warnings)


def _check_swap(given: R, facts: HostFacts, warnings: list[str], update: bool) -> R:
    if given.memory > 0 and given.memory_swap and not facts.swap_limit:
        warnings.append(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted."
            " Memory limited without swap."
        )
        given = replace(given, memory_swap=-1)
    if given.memory > 0 and 0 < given.memory_swap < given.memory:
        raise InvalidParameter(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if given.memory == 0 and given.memory_swap > 0 and not update:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    return given


def _check_swappiness(given: R, facts: HostFacts, warnings: list[str]) -> R:
    swappiness = given.memory_swappiness
    if swappiness is None:
        return given
    if not -1 <= swappiness <= 100:
        raise InvalidParameter(
            f"Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )
    if swappiness == -1:  # how clients say that nothing was asked for
        return replace(given, memory_swappiness=None)
    if facts.cgroup_version == 2:
        warnings.append(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not"
            " mounted. Memory swappiness discarded."
        )
        return replace(given, memory_swappiness=None)
    return given


def _check_oom_killer(given: R, facts: HostFacts, warnings: list[str]) -> R:
    if not given.oom_kill_disable:
        return given
    if facts.cgroup_version == 2:
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        return replace(given, oom_kill_disable=None)
    if not given.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can"
            " result in the system running out of resources."
        )
    return given


def _check_cpu(given: Resources, facts: HostFacts) -> None:
    if given.nano_cpus and given.cpu_period:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if given.nano_cpus and given.cpu_quota:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    count = len(facts.cpus)
    if not 0 <= given.nano_cpus <= count * 10**9:
        raise InvalidParameter(
            f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        )
    if given.cpu_shares < 0:
        raise InvalidParameter(
            f"invalid CPU shares ({given.cpu_shares}): value must be a positive integer"
        )
    if given.cpu_period and not 1000 <= given.cpu_period <= 1_000_000:
        raise InvalidParameter(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < given.cpu_quota < 1000:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if 0 < given.cpu_realtime_period < given.cpu_realtime_runtime:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")
    _check_set(given.cpuset_cpus, facts.cpus, "cpuset cpus", "CPUs")
    _check_set(given.cpuset_mems, facts.memory_nodes, "cpuset mems", "memory nodes")


def _check_set(text: str, available: Collection[int], what: str, name: str) -> None:
    if not text:
        return
    wanted = parse_number_set(text)
    if wanted is None:
        raise InvalidParameter(f"Invalid value {text} for {what}: invalid format: {text}")
    if not wanted <= set(available):
        raise InvalidParameter(
            f"Requested {name} are not available - requested {text},"
            f" available: {show_number_set(available)}"
        )


_LONGEST_SET = 4096  # characters


def parse_number_set(text: str) -> set[int] | None:
    """The numbers of ``0-2,5`` (cpuset(7), list format); None when it is none."""
    numbers: set[int] = set()
    if len(text) > _LONGEST_SET:
        return None
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        first, last = whole_number(low), whole_number(high if dash else low)
        if first is None or last is None or not first <= last <= 8192:
            return None
        numbers.update(range(first, last + 1))
    return numbers


def show_number_set(numbers: Collection[int]) -> str:
    """The inverse of `parse_number_set`."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{low}-{high}" if low < high else f"{low}" for low, high in ranges)
