"""Resources of a container as the OCI runtime-spec has them (config-linux, "Control groups")."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from typing import Any

from wherry.engine.config.host import Resources, ThrottleDevice
from wherry.errors import InvalidParameter

_PERIOD = 100_000  # µs; what --cpus is a share of

Numbers = Callable[[str], tuple[int, int]]


def device_numbers(path: str) -> tuple[int, int]:
    """Major and minor number of a device of the host; raises InvalidParameter."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise InvalidParameter(f"stat {path}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISBLK(status.st_mode) and not stat.S_ISCHR(status.st_mode):
        raise InvalidParameter(f"{path} is not a device")
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def linux_resources(given: Resources, numbers: Numbers = device_numbers) -> dict[str, Any]:
    """``linux.resources`` without devices; only what was asked for is in it."""
    parts = {"memory": _memory(given), "cpu": _cpu(given), "blockIO": _block(given, numbers)}
    result: dict[str, Any] = {key: part for key, part in parts.items() if part}
    if given.pids_limit:
        result["pids"] = {"limit": given.pids_limit}
    return result


def _memory(given: Resources) -> dict[str, Any]:
    asked = {
        "limit": given.memory,
        "reservation": given.memory_reservation,
        "swap": given.memory_swap,
        "disableOOMKiller": given.oom_kill_disable,
    }
    memory: dict[str, Any] = {key: value for key, value in asked.items() if value}
    if given.memory_swappiness is not None and given.memory_swappiness >= 0:
        memory["swappiness"] = given.memory_swappiness
    return memory


def _cpu(given: Resources) -> dict[str, Any]:
    share = _PERIOD if given.nano_cpus else 0
    asked = {
        "shares": given.cpu_shares,
        "period": given.cpu_period or share,
        "quota": given.cpu_quota or given.nano_cpus * share // 10**9,
        "cpus": given.cpuset_cpus,
        "mems": given.cpuset_mems,
        "realtimePeriod": given.cpu_realtime_period,
        "realtimeRuntime": given.cpu_realtime_runtime,
    }
    return {key: value for key, value in asked.items() if value}


def _block(given: Resources, numbers: Numbers) -> dict[str, Any]:
    asked = {
        "weight": given.blkio_weight,
        "weightDevice": [
            dict(zip(("major", "minor"), numbers(device.path), strict=True))
            | {"weight": device.weight}
            for device in given.blkio_weight_device or ()
        ],
        "throttleReadBpsDevice": _throttles(given.blkio_device_read_bps, numbers),
        "throttleWriteBpsDevice": _throttles(given.blkio_device_write_bps, numbers),
        "throttleReadIOPSDevice": _throttles(given.blkio_device_read_iops, numbers),
        "throttleWriteIOPSDevice": _throttles(given.blkio_device_write_iops, numbers),
    }
    return {key: value for key, value in asked.items() if value}


def _throttles(devices: Sequence[ThrottleDevice] | None, numbers: Numbers) -> list[dict[str, Any]]:
    return [
        dict(zip(("major", "minor"), numbers(device.path), strict=True)) | {"rate": device.rate}
        for device in devices or ()
    ]
