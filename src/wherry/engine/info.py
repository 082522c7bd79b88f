"""The views of ``GET /version`` and ``GET /info``."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from wherry import __version__
from wherry.timestamps import rfc3339

API_VERSION = "1.51"
MIN_API_VERSION = "1.12"
INDEX_SERVER = "https://index.docker.io/v1/"

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What only the engine knows; the host's facts are read here."""

    engine_id: str
    data_root: str
    containers_running: int = 0
    containers_paused: int = 0
    containers_stopped: int = 0
    images: int = 0
    storage_driver: str = "overlay2"
    storage_status: Sequence[tuple[str, str]] = ()
    volume_drivers: Sequence[str] = ("local",)
    network_drivers: Sequence[str] = ("bridge", "host", "ipvlan", "macvlan", "null")
    log_drivers: Sequence[str] = ("json-file", "none")
    log_driver: str = "json-file"
    cgroup_version: str = "2"
    cgroup_controllers: frozenset[str] = frozenset()
    swap_limit: bool = True
    oom_kill_disable: bool = False
    security_options: Sequence[str] = ()
    runtimes: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"wherry": {"path": "wherry-oci"}}
    )
    default_runtime: str = "wherry"
    address_pools: Sequence[Mapping[str, Any]] = ()
    registry_mirrors: Sequence[str] = ()
    insecure_registries: Sequence[str] = ()
    labels: Sequence[str] = ()
    debug: bool = False
    experimental: bool = False
    event_listeners: int = 0
    warnings: Sequence[str] = ()


def architecture() -> str:
    """This machine's name in image configurations (``GOARCH``)."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def version_view(*, experimental: bool = False) -> dict[str, Any]:
    """The object of ``GET /version``."""
    kernel = os.uname().release
    common = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": __version__,
        "GoVersion": f"python{platform.python_version()}",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel,
        "BuildTime": _build_time(),
    }
    details = {
        "ApiVersion": API_VERSION,
        "Arch": architecture(),
        "BuildTime": _build_time(),
        "Experimental": "true" if experimental else "false",
        "GitCommit": __version__,
        "GoVersion": common["GoVersion"],
        "KernelVersion": kernel,
        "MinAPIVersion": MIN_API_VERSION,
        "Os": "linux",
    }
    view: dict[str, Any] = {
        "Platform": {"Name": "Wherry"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
        "Version": __version__,
        **common,
    }
    if experimental:
        view["Experimental"] = True
    return view


def info_view(facts: EngineFacts) -> dict[str, Any]:
    """The object of ``GET /info``."""
    controllers = facts.cgroup_controllers
    release = _os_release()
    insecure = [registry for registry in facts.insecure_registries if "/" in registry]
    return {
        "ID": facts.engine_id,
        "Containers": facts.containers_running + facts.containers_paused + facts.containers_stopped,
        "ContainersRunning": facts.containers_running,
        "ContainersPaused": facts.containers_paused,
        "ContainersStopped": facts.containers_stopped,
        "Images": facts.images,
        "Driver": facts.storage_driver,
        "DriverStatus": [list(pair) for pair in facts.storage_status],
        "Plugins": {
            "Volume": list(facts.volume_drivers),
            "Network": list(facts.network_drivers),
            "Authorization": None,
            "Log": list(facts.log_drivers),
        },
        "MemoryLimit": "memory" in controllers,
        "SwapLimit": facts.swap_limit,
        "CpuCfsPeriod": "cpu" in controllers,
        "CpuCfsQuota": "cpu" in controllers,
        "CPUShares": "cpu" in controllers,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
        "IPv4Forwarding": _read_flag("/proc/sys/net/ipv4/ip_forward"),
        "Debug": facts.debug,
        "NFd": len(os.listdir("/proc/self/fd")),
        "OomKillDisable": facts.oom_kill_disable,
        "NGoroutines": len(os.listdir("/proc/self/task")),
        "SystemTime": rfc3339(time.time_ns()),
        "LoggingDriver": facts.log_driver,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": facts.cgroup_version,
        "NEventsListener": facts.event_listeners,
        "KernelVersion": os.uname().release,
        "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
        "OSVersion": release.get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": platform.machine(),
        "IndexServerAddress": INDEX_SERVER,
        "RegistryConfig": {
            "IndexConfigs": {
                "docker.io": {
                    "Mirrors": list(facts.registry_mirrors),
                    "Name": "docker.io",
                    "Official": True,
                    "Secure": True,
                },
                **{
                    registry: {"Mirrors": [], "Name": registry, "Official": False, "Secure": False}
                    for registry in facts.insecure_registries
                    if registry not in insecure
                },
            },
            "InsecureRegistryCIDRs": [*insecure, "::1/128", "127.0.0.0/8"],
            "Mirrors": list(facts.registry_mirrors),
        },
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "GenericResources": None,
        "DockerRootDir": facts.data_root,
        "HttpProxy": _proxy("HTTP_PROXY"),
        "HttpsProxy": _proxy("HTTPS_PROXY"),
        "NoProxy": _proxy("NO_PROXY"),
        "Name": os.uname().nodename,
        "Labels": list(facts.labels),
        "ExperimentalBuild": facts.experimental,
        "ServerVersion": __version__,
        "Runtimes": {name: dict(runtime) for name, runtime in facts.runtimes.items()},
        "DefaultRuntime": facts.default_runtime,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "wherry-init",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": list(facts.security_options),
        **({"DefaultAddressPools": list(facts.address_pools)} if facts.address_pools else {}),
        "FirewallBackend": {"Driver": "nftables"},
        "CDISpecDirs": [],
        "Warnings": list(facts.warnings),
    }


@cache
def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


@cache
def _build_time() -> str:
    """When this Wherry was installed; the form that clients of ``/version`` parse."""
    return rfc3339(int(os.stat(__file__).st_mtime) * 1_000_000_000, padded=True).replace(
        "Z", "+00:00"
    )


def _read_flag(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _proxy(name: str) -> str:
    """A proxy from the environment; credentials are hidden as dockerd does."""
    value = os.environ.get(name) or os.environ.get(name.lower()) or ""
    scheme, slashes, rest = value.partition("://")
    if slashes and "@" in rest:
        return f"{scheme}://xxxxx:xxxxx@{rest.rpartition('@')[2]}"
    return value
