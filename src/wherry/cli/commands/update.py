"""``wherry update``"""

from __future__ import annotations

from wherry.cli.command import Command, at_least
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BYTES, INT, MEMORY_SWAP, NANO_CPUS, STRING, UINT16
from wherry.cli.options.checks import restart_policy
from wherry.client.api import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_NUMBERS = (
    ("cpu-shares", "CpuShares"),
    ("memory", "Memory"),
    ("cpus", "NanoCpus"),
    ("blkio-weight", "BlkioWeight"),
    ("cpu-period", "CpuPeriod"),
    ("cpu-quota", "CpuQuota"),
    ("cpu-rt-period", "CpuRealtimePeriod"),
    ("cpu-rt-runtime", "CpuRealtimeRuntime"),
    ("cpuset-cpus", "CpusetCpus"),
    ("cpuset-mems", "CpusetMems"),
    ("memory-reservation", "MemoryReservation"),
    ("memory-swap", "MemorySwap"),
)
_EMPTY = {
    "CgroupParent": "",
    **dict.fromkeys(
        (
            "BlkioWeightDevice",
            "BlkioDeviceReadBps",
            "BlkioDeviceWriteBps",
            "BlkioDeviceReadIOps",
            "BlkioDeviceWriteIOps",
            "Devices",
            "DeviceCgroupRules",
            "DeviceRequests",
            "MemorySwappiness",
            "OomKillDisable",
            "Ulimits",
        )
    ),
    **dict.fromkeys(("CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth"), 0),
}
_FLAGS = (
    Flag("blkio-weight", "", UINT16, "Block I/O weight, 10 to 1000, or 0 to disable"),
    Flag("cpu-period", "", INT, "CPU scheduler period in microseconds"),
    Flag("cpu-quota", "", INT, "CPU scheduler quota in microseconds"),
    Flag("cpu-rt-period", "", INT, "Real-time period in microseconds"),
    Flag("cpu-rt-runtime", "", INT, "Real-time run time in microseconds"),
    Flag("cpu-shares", "c", INT, "CPU shares (relative weight)"),
    Flag("cpus", "", NANO_CPUS, "Number of CPUs"),
    Flag("cpuset-cpus", "", STRING, "CPUs to run on (0-3, 0,1)"),
    Flag("cpuset-mems", "", STRING, "Memory nodes to use (0-3, 0,1)"),
    Flag("kernel-memory", "", BYTES, "Kernel memory limit", hidden=True),
    Flag("memory", "m", BYTES, "Memory limit"),
    Flag("memory-reservation", "", BYTES, "Memory soft limit"),
    Flag("memory-swap", "", MEMORY_SWAP, "Limit of memory plus swap: -1 for unlimited swap"),
    Flag("pids-limit", "", INT, "Limit of processes (-1 for unlimited)"),
    Flag("restart", "", STRING, "Restart policy to apply when a container exits"),
)


def update_body(options: Options) -> dict[str, Any]:
    """The request body; raises ValueError."""
    policy = restart_policy(options["restart"])
    return {
        **_EMPTY,
        **{key: options[flag] for flag, key in _NUMBERS},
        "PidsLimit": options["pids-limit"] if options["pids-limit"] else None,
        "RestartPolicy": policy,
    }


def _update(session: Session, options: Options, arguments: list[str]) -> int:
    if not any(options.given(flag.name) for flag in _FLAGS):
        raise CliError("you must provide one or more flags when using this command")
    try:
        body = update_body(options)
    except ValueError as error:
        raise CliError(str(error)) from None
    warnings: list[str] = []

    def change(name: str) -> None:
        answer = session.client.call("POST", f"/containers/{quote(name)}/update", body=body)
        warnings.extend((answer or {}).get("Warnings") or [])

    code = session.each(arguments, change)
    if warnings:
        session.warn("\n".join(warnings))
    return code


UPDATE = Command(
    "update [OPTIONS] CONTAINER [CONTAINER...]", _update, flags=_FLAGS, arguments=at_least(1)
)
