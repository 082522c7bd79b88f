"""Block I/O: ``blkio`` on v1, ``io`` on v2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.linux.cgroups.files import Reader, Setting

NAME_V1 = "blkio"
NAME_V2 = "io"

_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


@dataclass(frozen=True, slots=True)
class IoEntry:
    """One counter of one device; ``operation`` is ``read``, ``write``, …"""

    major: int
    minor: int
    operation: str
    value: int


@dataclass(frozen=True, slots=True)
class IoStats:
    """Bytes and operations by device."""

    bytes: tuple[IoEntry, ...] = ()
    operations: tuple[IoEntry, ...] = ()


def settings_v1(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v1. The weight's file depends on the scheduler."""
    block = resources.get("blockIO") or {}
    result = []
    if block.get("weight"):
        weight = str(block["weight"])
        result.append(Setting("blkio.weight", weight, optional=True))
        result.append(Setting("blkio.bfq.weight", weight, optional=True))
    for entry in block.get("weightDevice") or ():
        value = f"{entry['major']}:{entry['minor']} {entry['weight']}"
        result.append(Setting("blkio.weight_device", value, optional=True))
        result.append(Setting("blkio.bfq.weight_device", value, optional=True))
    for key, file, _ in _THROTTLES:
        result += [
            Setting(file, f"{entry['major']}:{entry['minor']} {entry['rate']}")
            for entry in block.get(key) or ()
        ]
    return result


def settings_v2(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v2."""
    block = resources.get("blockIO") or {}
    result = []
    if block.get("weight"):
        result.append(Setting("io.bfq.weight", str(block["weight"]), optional=True))
        scaled = 1 + (block["weight"] - 10) * 9999 // 990
        result.append(Setting("io.weight", str(scaled), optional=True))
    for entry in block.get("weightDevice") or ():
        value = f"{entry['major']}:{entry['minor']} {entry['weight']}"
        result.append(Setting("io.bfq.weight", value, optional=True))
    for key, _, field in _THROTTLES:
        result += [
            Setting("io.max", f"{entry['major']}:{entry['minor']} {field}={entry['rate']}")
            for entry in block.get(key) or ()
        ]
    return result


def stats_v1(read: Reader) -> IoStats:
    """Counters of cgroup v1: the scheduler's where it keeps some, else the throttler's."""
    return IoStats(
        _entries(read, ("blkio.bfq.io_service_bytes_recursive", _V1_BYTES)),
        _entries(read, ("blkio.bfq.io_serviced_recursive", _V1_OPERATIONS)),
    )


_V1_BYTES = "blkio.throttle.io_service_bytes_recursive"
_V1_OPERATIONS = "blkio.throttle.io_serviced_recursive"


def _entries(read: Reader, names: tuple[str, ...]) -> tuple[IoEntry, ...]:
    for name in names:
        found = []
        for line in (read(name) or "").splitlines():
            fields = line.replace(":", " ").split()
            if len(fields) == 4:  # "8:0 Read 4096"; the last line is the sum alone
                found.append(
                    IoEntry(int(fields[0]), int(fields[1]), fields[2].lower(), int(fields[3]))
                )
        if found:
            return tuple(found)
    return ()


def stats_v2(read: Reader) -> IoStats:
    """Counters of cgroup v2: ``8:0 rbytes=1 wbytes=2 rios=3 wios=4 …``."""
    sizes: list[IoEntry] = []
    operations: list[IoEntry] = []
    for line in (read("io.stat") or "").splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        values = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        for key, operation, into in (
            ("rbytes", "read", sizes),
            ("wbytes", "write", sizes),
            ("rios", "read", operations),
            ("wios", "write", operations),
        ):
            if key in values:
                into.append(IoEntry(int(major), int(minor), operation, int(values[key])))
    return IoStats(tuple(sizes), tuple(operations))
