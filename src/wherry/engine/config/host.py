# ruff: noqa: RUF009 (api() makes a dataclass field)
"""HostConfig: how a container uses its host (API 1.51, definitions HostConfig and Resources)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wherry.engine.config.codec import (
    FLAG,
    INTEGER,
    OPTIONAL_FLAG,
    OPTIONAL_INTEGER,
    TEXT,
    TEXT_MAP,
    TEXTS,
    WORDS,
    Kind,
    api,
    mismatch,
    objects,
    one,
)
from wherry.engine.config.mount import Mount
from wherry.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The log driver and its options."""

    type: str = api("Type", TEXT)
    config: dict[str, str] | None = api("Config", TEXT_MAP)


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When an ended container is started again."""

    name: str = api("Name", TEXT)
    maximum_retry_count: int = api("MaximumRetryCount", INTEGER)


@dataclass(frozen=True, slots=True)
class WeightDevice:
    """Block I/O weight of one device."""

    path: str = api("Path", TEXT)
    weight: int = api("Weight", INTEGER)


@dataclass(frozen=True, slots=True)
class ThrottleDevice:
    """Block I/O rate of one device, in bytes or operations a second."""

    path: str = api("Path", TEXT)
    rate: int = api("Rate", INTEGER)


@dataclass(frozen=True, slots=True)
class DeviceMapping:
    """A device of the host given to a container."""

    path_on_host: str = api("PathOnHost", TEXT)
    path_in_container: str = api("PathInContainer", TEXT)
    cgroup_permissions: str = api("CgroupPermissions", TEXT)


@dataclass(frozen=True, slots=True)
class Ulimit:
    """One resource limit; -1 is no limit."""

    name: str = api("Name", TEXT)
    hard: int = api("Hard", INTEGER)
    soft: int = api("Soft", INTEGER)


def _read_lists(value: Any, where: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        raise mismatch(value, where, "[][]string")
    return tuple(TEXTS.read(item, where) for item in value)


_CAPABILITY_SETS = Kind(
    _read_lists, None, lambda value: None if value is None else [list(item) for item in value]
)


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """Devices that a driver is asked for (GPUs)."""

    driver: str = api("Driver", TEXT)
    count: int = api("Count", INTEGER)
    device_ids: tuple[str, ...] | None = api("DeviceIDs", TEXTS)
    capabilities: tuple[tuple[str, ...], ...] | None = api("Capabilities", _CAPABILITY_SETS)
    options: dict[str, str] | None = api("Options", TEXT_MAP)


@dataclass(frozen=True, slots=True)
class PortPlace:
    """Where on the host a port is published."""

    host_ip: str = api("HostIp", TEXT)
    host_port: str = api("HostPort", TEXT)


def _read_bindings(value: Any, where: str) -> dict[str, tuple[PortPlace, ...] | None]:
    if not isinstance(value, dict):
        raise mismatch(value, where, "nat.PortMap")
    places = objects(PortPlace)
    return {
        port: None if given is None else places.read(given, where) for port, given in value.items()
    }


def _show_bindings(value: Any) -> Any:
    places = objects(PortPlace)
    return None if value is None else {port: places.show(given) for port, given in value.items()}


def read_console_size(value: Any, where: str) -> tuple[int, int]:
    """Rows and columns; raises InvalidParameter."""
    if not isinstance(value, list):
        raise mismatch(value, where, "[2]uint")
    numbers = [INTEGER.read(item, where) for item in value[:2]]
    if any(number < 0 for number in numbers):
        raise InvalidParameter(f"invalid JSON: {where}: a console size cannot be negative")
    rows, columns = (*numbers, 0, 0)[:2]
    return rows, columns


_BINDINGS = Kind(_read_bindings, None, _show_bindings)
_CONSOLE_SIZE = Kind(read_console_size, (0, 0), list)


@dataclass(frozen=True)
class Resources:
    """Limits and devices. Memory in bytes, ``nano_cpus`` in 10⁻⁹ processors, times in µs."""

    cpu_shares: int = api("CpuShares", INTEGER)
    memory: int = api("Memory", INTEGER)
    nano_cpus: int = api("NanoCpus", INTEGER)
    cgroup_parent: str = api("CgroupParent", TEXT)
    blkio_weight: int = api("BlkioWeight", INTEGER)
    blkio_weight_device: tuple[WeightDevice, ...] | None = api(
        "BlkioWeightDevice", objects(WeightDevice)
    )
    blkio_device_read_bps: tuple[ThrottleDevice, ...] | None = api(
        "BlkioDeviceReadBps", objects(ThrottleDevice)
    )
    blkio_device_write_bps: tuple[ThrottleDevice, ...] | None = api(
        "BlkioDeviceWriteBps", objects(ThrottleDevice)
    )
    blkio_device_read_iops: tuple[ThrottleDevice, ...] | None = api(
        "BlkioDeviceReadIOps", objects(ThrottleDevice)
    )
    blkio_device_write_iops: tuple[ThrottleDevice, ...] | None = api(
        "BlkioDeviceWriteIOps", objects(ThrottleDevice)
    )
    cpu_period: int = api("CpuPeriod", INTEGER)
    cpu_quota: int = api("CpuQuota", INTEGER)
    cpu_realtime_period: int = api("CpuRealtimePeriod", INTEGER)
    cpu_realtime_runtime: int = api("CpuRealtimeRuntime", INTEGER)
    cpuset_cpus: str = api("CpusetCpus", TEXT)
    cpuset_mems: str = api("CpusetMems", TEXT)
    devices: tuple[DeviceMapping, ...] | None = api("Devices", objects(DeviceMapping))
    device_cgroup_rules: tuple[str, ...] | None = api("DeviceCgroupRules", TEXTS)
    device_requests: tuple[DeviceRequest, ...] | None = api(
        "DeviceRequests", objects(DeviceRequest)
    )
    memory_reservation: int = api("MemoryReservation", INTEGER)
    memory_swap: int = api("MemorySwap", INTEGER)
    memory_swappiness: int | None = api("MemorySwappiness", OPTIONAL_INTEGER)
    oom_kill_disable: bool | None = api("OomKillDisable", OPTIONAL_FLAG)
    pids_limit: int | None = api("PidsLimit", OPTIONAL_INTEGER)
    ulimits: tuple[Ulimit, ...] | None = api("Ulimits", objects(Ulimit))
    cpu_count: int = api("CpuCount", INTEGER)
    cpu_percent: int = api("CpuPercent", INTEGER)
    io_maximum_iops: int = api("IOMaximumIOps", INTEGER)
    io_maximum_bandwidth: int = api("IOMaximumBandwidth", INTEGER)


@dataclass(frozen=True)
class _Front:
    """The fields that the API shows before those of Resources."""

    binds: tuple[str, ...] | None = api("Binds", TEXTS)
    container_id_file: str = api("ContainerIDFile", TEXT)
    log_config: LogConfig = api("LogConfig", one(LogConfig, optional=False))
    network_mode: str = api("NetworkMode", TEXT)
    port_bindings: dict[str, tuple[PortPlace, ...] | None] | None = api("PortBindings", _BINDINGS)
    restart_policy: RestartPolicy = api("RestartPolicy", one(RestartPolicy, optional=False))
    auto_remove: bool = api("AutoRemove", FLAG)
    volume_driver: str = api("VolumeDriver", TEXT)
    volumes_from: tuple[str, ...] | None = api("VolumesFrom", TEXTS)
    console_size: tuple[int, int] = api("ConsoleSize", _CONSOLE_SIZE)
    annotations: dict[str, str] | None = api("Annotations", TEXT_MAP, omit=True)
    cap_add: tuple[str, ...] | None = api("CapAdd", WORDS)
    cap_drop: tuple[str, ...] | None = api("CapDrop", WORDS)
    cgroupns_mode: str = api("CgroupnsMode", TEXT)
    dns: tuple[str, ...] | None = api("Dns", TEXTS)
    dns_options: tuple[str, ...] | None = api("DnsOptions", TEXTS)
    dns_search: tuple[str, ...] | None = api("DnsSearch", TEXTS)
    extra_hosts: tuple[str, ...] | None = api("ExtraHosts", TEXTS)
    group_add: tuple[str, ...] | None = api("GroupAdd", TEXTS)
    ipc_mode: str = api("IpcMode", TEXT)
    cgroup: str = api("Cgroup", TEXT)
    links: tuple[str, ...] | None = api("Links", TEXTS)
    oom_score_adj: int = api("OomScoreAdj", INTEGER)
    pid_mode: str = api("PidMode", TEXT)
    privileged: bool = api("Privileged", FLAG)
    publish_all_ports: bool = api("PublishAllPorts", FLAG)
    readonly_rootfs: bool = api("ReadonlyRootfs", FLAG)
    security_opt: tuple[str, ...] | None = api("SecurityOpt", TEXTS)
    storage_opt: dict[str, str] | None = api("StorageOpt", TEXT_MAP, omit=True)
    tmpfs: dict[str, str] | None = api("Tmpfs", TEXT_MAP, omit=True)
    uts_mode: str = api("UTSMode", TEXT)
    userns_mode: str = api("UsernsMode", TEXT)
    shm_size: int = api("ShmSize", INTEGER)
    sysctls: dict[str, str] | None = api("Sysctls", TEXT_MAP, omit=True)
    runtime: str = api("Runtime", TEXT, omit=True)
    isolation: str = api("Isolation", TEXT)


@dataclass(frozen=True)
class HostConfig(Resources, _Front):
    """Everything about a container that is not portable."""

    mounts: tuple[Mount, ...] | None = api("Mounts", objects(Mount), omit=True)
    masked_paths: tuple[str, ...] | None = api("MaskedPaths", TEXTS)
    readonly_paths: tuple[str, ...] | None = api("ReadonlyPaths", TEXTS)
    init: bool | None = api("Init", OPTIONAL_FLAG, omit=True)
