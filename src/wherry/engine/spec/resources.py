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
    result: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    if given.memory:
        memory["limit"] = given.memory
    if given.memory_reservation:
        memory["reservation"] = given.memory_reservation
    if given.memory_swap:
        memory["swap"] = given.memory_swap
    if given.memory_swappiness is not None and given.memory_swappiness >= 0:
        memory["swappiness"] = given.memory_swappiness
    if given.oom_kill_disable:
        memory["disableOOMKiller"] = True
    cpu: dict[str, Any] = {}
    if given.cpu_shares:
        cpu["shares"] = given.cpu_shares
    if given.nano_cpus:
        cpu["period"] = _PERIOD
        cpu["quota"] = given.nano_cpus * _PERIOD // 10**9
    if given.cpu_period:
        cpu["period"] = given.cpu_period
    if given.cpu_quota:
        cpu["quota"] = given.cpu_quota
    if given.cpuset_cpus:
        cpu["cpus"] = given.cpuset_cpus
    if given.cpuset_mems:
        cpu["mems"] = given.cpuset_mems
    if given.cpu_realtime_period:
        cpu["realtimePeriod"] = given.cpu_realtime_period
    if given.cpu_realtime_runtime:
        cpu["realtimeRuntime"] = given.cpu_realtime_runtime
    block: dict[str, Any] = {}
    if given.blkio_weight:
        block["weight"] = given.blkio_weight
    if given.blkio_weight_device:
        block["weightDevice"] = [
            dict(zip(("major", "minor"), numbers(device.path), strict=True))
            | {"weight": device.weight}
            for device in given.blkio_weight_device
        ]
    for key, devices in (
        ("throttleReadBpsDevice", given.blkio_device_read_bps),
        ("throttleWriteBpsDevice", given.blkio_device_write_bps),
        ("throttleReadIOPSDevice", given.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", given.blkio_device_write_iops),
    ):
        if devices:
            block[key] = _throttles(devices, numbers)
    parts = (("memory", memory), ("cpu", cpu), ("blockIO", block))
    result.update((key, part) for key, part in parts if part)
    if given.pids_limit:
        result["pids"] = {"limit": given.pids_limit}
    return result


def _throttles(devices: Sequence[ThrottleDevice], numbers: Numbers) -> list[dict[str, Any]]:
    return [
        dict(zip(("major", "minor"), numbers(device.path), strict=True)) | {"rate": device.rate}
        for device in devices
    ]
