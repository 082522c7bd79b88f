"""list, ps, events, update, features: what is, and changing limits."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from wherry.errors import Conflict, InvalidParameter
from wherry.linux import apparmor, capabilities, probe, process, seccomp
from wherry.linux.cgroups import Cgroup, CgroupStats
from wherry.runtime.oci.state import OCI_VERSION, Container, everyone
from wherry.runtime.rootplan import known_options

_HOOKS = (
    *("prestart", "createRuntime", "createContainer"),
    *("startContainer", "poststart", "poststop"),
)


def list_all(root: str, form: str, quiet: bool) -> None:
    """Print all containers."""
    views = [container.view() for container in everyone(root)]
    if quiet:
        for view in views:
            print(view["id"])
    elif form == "json":
        print(json.dumps(views))
    else:
        print(f"{'ID':<24} {'PID':<10} {'STATUS':<10} {'BUNDLE':<40} {'CREATED':<30} OWNER")
        for view in views:
            print(
                f"{view['id']:<24} {view['pid']:<10} {view['status']:<10} "
                f"{view['bundle']:<40} {view['created']:<30} root"
            )


def processes(container: Container, form: str, arguments: list[str]) -> None:
    """Print the processes of a container, as pids or as ps(1) shows them."""
    pids = Cgroup(container.cgroup).pids()
    if form == "json":
        print(json.dumps(pids))
        return
    listing = subprocess.run(
        ["ps", *(arguments or ["-ef"])], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    column = listing[0].split().index("PID")
    print(listing[0])
    wanted = {str(pid) for pid in pids}
    for line in listing[1:]:
        if line.split()[column] in wanted:
            print(line)


def stats_view(stats: CgroupStats) -> dict[str, Any]:
    """Counters in the shape of runc's ``events --stats``."""

    def entries(values: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [
            {"major": e.major, "minor": e.minor, "op": e.operation.capitalize(), "value": e.value}
            for e in values
        ]

    return {
        "cpu": {
            "usage": {
                "total": stats.cpu.total,
                "percpu": list(stats.cpu.per_cpu),
                "kernel": stats.cpu.kernel,
                "user": stats.cpu.user,
            },
            "throttling": {
                "periods": stats.throttling.periods,
                "throttledPeriods": stats.throttling.throttled_periods,
                "throttledTime": stats.throttling.throttled_time,
            },
        },
        "memory": {
            "usage": {
                "limit": stats.memory.limit,
                "usage": stats.memory.usage,
                "max": stats.memory.max_usage,
                "failcnt": stats.memory.failures,
            },
            "raw": dict(stats.memory.detail),
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit},
        "blkio": {
            "ioServiceBytesRecursive": entries(stats.io.bytes),
            "ioServicedRecursive": entries(stats.io.operations),
        },
    }


def events(container: Container, *, once: bool, interval: float) -> None:
    """Print counters as one JSON object a line, once or until the container has ended."""
    group = Cgroup(container.cgroup)
    kills = group.oom_kills()
    while True:
        if container.status() == "stopped":
            if once:
                raise Conflict("container not running")
            return
        if group.oom_kills() > kills:
            kills = group.oom_kills()
            print(json.dumps({"type": "oom", "id": container.id}), flush=True)
        event = {"type": "stats", "id": container.id, "data": stats_view(group.stats())}
        print(json.dumps(event), flush=True)
        if once:
            return
        time.sleep(interval)


def update(container: Container, resources: Mapping[str, Any]) -> None:
    """Change the limits of a container."""
    if container.status() == "stopped":
        raise Conflict("container not running")
    Cgroup(container.cgroup).apply(resources)


def read_resources(path: str) -> dict[str, Any]:
    """An OCI ``linux.resources`` object from a file, or from stdin for ``-``."""
    try:
        if path == "-":
            resources: dict[str, Any] = json.load(sys.stdin)
        else:
            with open(path) as file:
                resources = json.load(file)
    except (OSError, ValueError) as error:
        raise InvalidParameter(f"resources: {error}") from None
    return resources


def features() -> dict[str, Any]:
    """What this runtime can do, runtime-spec "Features Structure"."""
    version = probe.cgroup_version()
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(_HOOKS),
        "mountOptions": known_options(),
        "linux": {
            "namespaces": [name for name in process.NAMESPACES if name != "time"],
            "capabilities": list(capabilities.NAMES),
            "cgroup": {
                "v1": version == 1,
                "v2": version == 2,
                "systemd": False,
                "systemdUser": False,
                "rdma": True,
            },
            "seccomp": {
                "enabled": probe.seccomp(),
                "actions": seccomp.actions(),
                "operators": seccomp.operators(),
                "archs": seccomp.architectures(),
            },
            "apparmor": {"enabled": apparmor.enabled()},
            "selinux": {"enabled": probe.selinux()},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "potentiallyUnsafeConfigAnnotations": [],
    }
