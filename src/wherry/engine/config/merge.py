"""A container's configuration completed by its image's and by the engine's defaults; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wherry.engine.config.container import ContainerConfig, HealthConfig
from wherry.engine.config.host import HostConfig, LogConfig, RestartPolicy
from wherry.engine.options import EngineConfig

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

READONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)


def merge_image(config: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """``config`` with what it leaves open taken from the image.

    A command of the image goes with the image's entrypoint: who gives an entrypoint gets no
    command of the image.
    """
    entrypoint, cmd = config.entrypoint, config.cmd
    if not entrypoint:
        cmd = cmd or image.cmd
        if entrypoint is None:
            entrypoint = image.entrypoint
    if entrypoint == ("",):
        entrypoint = None
    given = {entry.partition("=")[0] for entry in config.env or ()}
    env = (
        *(config.env or ()),
        *(entry for entry in image.env or () if entry.partition("=")[0] not in given),
    )
    labels = {**(image.labels or {}), **(config.labels or {})}
    return replace(
        config,
        user=config.user or image.user,
        exposed_ports=_union(config.exposed_ports, image.exposed_ports),
        env=env,
        cmd=cmd,
        entrypoint=entrypoint,
        labels=labels,
        healthcheck=_merge_health(config.healthcheck, image.healthcheck),
        volumes=_union(config.volumes, image.volumes),
        working_dir=config.working_dir or image.working_dir,
        stop_signal=config.stop_signal or image.stop_signal,
    )


def _union(given: tuple[str, ...] | None, image: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys((*(given or ()), *(image or ())))) or None


def _merge_health(given: HealthConfig | None, image: HealthConfig | None) -> HealthConfig | None:
    if given is None or image is None:
        return given or image
    return HealthConfig(
        test=given.test or image.test,
        interval=given.interval or image.interval,
        timeout=given.timeout or image.timeout,
        start_period=given.start_period or image.start_period,
        start_interval=given.start_interval or image.start_interval,
        retries=given.retries or image.retries,
    )


def complete_host(host: HostConfig, engine: EngineConfig, cgroup_version: int) -> HostConfig:
    """``host`` with Docker's and the engine's defaults where it says nothing."""
    private = host.cgroupns_mode or ("host" if host.privileged else engine.cgroupns_mode)
    masked, read_only = host.masked_paths, host.readonly_paths
    if not host.privileged:
        masked = MASKED_PATHS if masked is None else masked
        read_only = READONLY_PATHS if read_only is None else read_only
    swap = host.memory_swap
    if host.memory > 0 and swap == 0:
        swap = host.memory * 2
    oom_kill_disable = host.oom_kill_disable
    if oom_kill_disable is None and cgroup_version == 1:
        oom_kill_disable = False
    return replace(
        host,
        log_config=complete_log(host.log_config, engine.log_driver, engine.log_options),
        network_mode="bridge" if host.network_mode in ("", "default") else host.network_mode,
        port_bindings=host.port_bindings or {},
        restart_policy=replace(host.restart_policy, name=host.restart_policy.name or "no"),
        cgroupns_mode=private,
        ipc_mode=host.ipc_mode or engine.ipc_mode,
        shm_size=host.shm_size or engine.shm_size,
        runtime=host.runtime or engine.default_runtime,
        masked_paths=masked,
        readonly_paths=read_only,
        memory_swap=swap,
        oom_kill_disable=oom_kill_disable,
        init=host.init if host.init is not None else (True if engine.init else None),
    )


def complete_log(given: LogConfig, driver: str, options: Mapping[str, str]) -> LogConfig:
    """The log configuration with the engine's defaults, whose options go with its driver."""
    kind = given.type or driver
    defaults = options if kind == driver else {}
    return LogConfig(kind, {**defaults, **(given.config or {})})


def no_restart(policy: RestartPolicy) -> bool:
    """Whether a policy never starts a container again."""
    return policy.name in ("", "no")
