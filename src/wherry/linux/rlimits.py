"""Resource limits by their OCI names, getrlimit(2)."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from wherry.errors import InvalidParameter, KernelError

NUMBERS = {
    "RLIMIT_AS": resource.RLIMIT_AS,
    "RLIMIT_CORE": resource.RLIMIT_CORE,
    "RLIMIT_CPU": resource.RLIMIT_CPU,
    "RLIMIT_DATA": resource.RLIMIT_DATA,
    "RLIMIT_FSIZE": resource.RLIMIT_FSIZE,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_MEMLOCK": resource.RLIMIT_MEMLOCK,
    "RLIMIT_MSGQUEUE": resource.RLIMIT_MSGQUEUE,
    "RLIMIT_NICE": resource.RLIMIT_NICE,
    "RLIMIT_NOFILE": resource.RLIMIT_NOFILE,
    "RLIMIT_NPROC": resource.RLIMIT_NPROC,
    "RLIMIT_RSS": resource.RLIMIT_RSS,
    "RLIMIT_RTPRIO": resource.RLIMIT_RTPRIO,
    "RLIMIT_RTTIME": 15,
    "RLIMIT_SIGPENDING": resource.RLIMIT_SIGPENDING,
    "RLIMIT_STACK": resource.RLIMIT_STACK,
}

_UNLIMITED = 2**64 - 1
_given: list[tuple[int, int]] = []  # RLIMIT_NOFILE as this process was started with


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit; -1 (``RLIM_INFINITY``) is no limit."""

    name: str
    soft: int
    hard: int


def parse(entries: list[dict[str, object]]) -> list[Limit]:
    """The ``process.rlimits`` of an OCI spec."""
    limits = []
    for entry in entries:
        name = str(entry["type"])
        if name not in NUMBERS:
            raise InvalidParameter(f"unknown resource limit: {name}")
        limits.append(Limit(name, _number(entry["soft"]), _number(entry["hard"])))
    return limits


def _number(value: object) -> int:
    number = int(str(value))
    return -1 if number < 0 or number >= _UNLIMITED else number


def reachable(limit: Limit, current_hard: int) -> Limit:
    """``limit``, lowered to what a process without CAP_SYS_RESOURCE may still get."""
    hard = _lower(limit.hard, current_hard)
    return Limit(limit.name, _lower(limit.soft, hard), hard)


def _lower(one: int, other: int) -> int:
    if one == -1:
        return other
    return one if other == -1 else min(one, other)


def raise_open_files() -> None:
    """Let this process open as many files as it may: containers and clients cost one each.

    The soft limit is for programs that use select(2), whose sets end at 1,023 (systemd.exec(5),
    LimitNOFILE). What is started for others gets it back: ``give_back_open_files``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _given and soft != hard:
        _given.append((soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def give_back_open_files(pid: int) -> None:
    """Give a child process the limit that this one was started with."""
    for limit in _given:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)


def raise_hard_limits(pid: int, limits: list[Limit]) -> list[str]:
    """Lift the hard limits of ``pid`` where ``limits`` ask for more than it has.

    Where the host withholds CAP_SYS_RESOURCE the old limit stays; the result has a warning for
    each such limit.
    """
    warnings = []
    for limit in limits:
        number = NUMBERS[limit.name]
        soft, hard = resource.prlimit(pid, number)
        if _lower(limit.hard, hard) == limit.hard:
            continue
        try:
            resource.prlimit(pid, number, (soft, limit.hard))
        except (PermissionError, ValueError):
            warnings.append(
                f"{limit.name} {limit.hard} is above this host's limit: {hard} is used instead"
            )
    return warnings


def apply(limits: list[Limit]) -> None:
    """Set the limits of the calling process, as far as its hard limits allow."""
    for limit in limits:
        number = NUMBERS[limit.name]
        wanted = reachable(limit, resource.getrlimit(number)[1])
        try:
            resource.setrlimit(number, (wanted.soft, wanted.hard))
        except OSError as error:
            raise KernelError("set resource limit", limit.name, error.errno or 0) from error
        except ValueError:
            raise KernelError("set resource limit", limit.name, 22) from None
