"""Rules about a whole container: what contradicts itself or cannot be is refused at creation."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wherry.engine.config.container import ContainerConfig, HealthConfig
from wherry.engine.config.host import HostConfig, RestartPolicy
from wherry.engine.config.signals import parse_signal
from wherry.errors import InvalidParameter
from wherry.linux import cgroups
from wherry.linux.capabilities import NUMBERS as CAPABILITIES

_MILLISECOND = 1_000_000
_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_RULE = re.compile(r"[acb] ([0-9]{1,10}|\*):([0-9]{1,10}|\*) [rwm]{1,3}")
_NETWORK_SYSCTL = re.compile(r"net\.")
_IPC_SYSCTLS = frozenset(
    {
        *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
        *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
    }
)


def check_container(config: ContainerConfig) -> None:
    """Raise InvalidParameter for a container configuration that cannot be."""
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameter(
            f"the working directory '{config.working_dir}' is invalid,"
            " it needs to be an absolute path"
        )
    if config.stop_signal:
        parse_signal(config.stop_signal)
    for entry in config.env or ():
        if not entry or entry.startswith("="):
            raise InvalidParameter(f"invalid environment variable: {entry}")
    if len(config.hostname) > 64:
        raise InvalidParameter(f"invalid hostname: {config.hostname}: it is longer than 64 bytes")
    if config.healthcheck is not None:
        _check_health(config.healthcheck)


def _check_health(health: HealthConfig) -> None:
    for name, value in (
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ):
        if value and value < _MILLISECOND:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
    if health.test and health.test[0] not in ("NONE", "CMD", "CMD-SHELL", ""):
        raise InvalidParameter(f'unknown type of health check: "{health.test[0]}"')


def check_restart_policy(policy: RestartPolicy) -> None:
    """Raise InvalidParameter for a policy that nobody knows."""
    retries, name = policy.maximum_retry_count, policy.name
    if name and name not in _POLICIES:
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always',"
            " 'on-failure', or 'unless-stopped'"
        )
    if retries and name != "on-failure":
        raise InvalidParameter(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
            + (" and cannot be negative" if retries < 0 else "")
        )
    if retries < 0:
        raise InvalidParameter("invalid restart policy: maximum retry count cannot be negative")


def check_host(config: ContainerConfig, host: HostConfig) -> None:
    """Raise InvalidParameter for a host configuration that cannot be or contradicts itself."""
    check_restart_policy(host.restart_policy)
    if host.auto_remove and host.restart_policy.name not in ("", "no"):
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")
    if host.shm_size < 0:
        raise InvalidParameter("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidParameter(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    cgroups.clean(host.cgroup_parent)
    if host.isolation not in ("", "default"):
        raise InvalidParameter(f"invalid isolation '{host.isolation}' on linux")
    if any(not key for key in host.annotations or ()):
        raise InvalidParameter(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )
    for what, given in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        check_capabilities(what, given or ())
    _check_devices(host)
    _check_modes(host)
    _check_network_conflicts(config, host)
    _check_sysctls(host.sysctls or {}, host)


def _check_devices(host: HostConfig) -> None:
    for rule in host.device_cgroup_rules or ():
        if not _RULE.fullmatch(rule):
            raise InvalidParameter(f"invalid device cgroup rule format: '{rule}'")
    for device in host.devices or ():
        if not device.path_on_host:
            raise InvalidParameter("invalid device mapping: PathOnHost is empty")
        permissions = device.cgroup_permissions
        if permissions and (set(permissions) - set("rwm") or len(permissions) > 3):
            raise InvalidParameter(f"invalid device mode: {permissions}")
    for request in host.device_requests or ():
        names = [list(alternative) for alternative in request.capabilities or ()]
        raise InvalidParameter(
            f'could not select device driver "{request.driver}" with capabilities:'
            f" [{' '.join('[' + ' '.join(name) + ']' for name in names)}]"
        )


def check_capabilities(what: str, names: tuple[str, ...]) -> None:
    """Raise InvalidParameter for names that are no capability."""
    for name in names:
        if capability(name) not in CAPABILITIES and name.upper() != "ALL":
            raise InvalidParameter(f'invalid {what}: unknown capability: "{capability(name)}"')


def capability(name: str) -> str:
    """The kernel's name of a capability that is written with or without ``CAP_``."""
    upper = name.upper()
    return upper if upper.startswith("CAP_") or upper == "ALL" else f"CAP_{upper}"


def _check_modes(host: HostConfig) -> None:
    joins = (
        ("PID", host.pid_mode, ("", "host", "private")),
        ("IPC", host.ipc_mode, ("", "none", "private", "shareable", "host")),
    )
    for name, mode, known in joins:
        joined = mode.startswith("container:") and len(mode) > len("container:")
        if mode not in known and not joined:
            raise InvalidParameter(f"invalid {name} mode: {mode}")
    if host.uts_mode not in ("", "host", "private"):
        raise InvalidParameter(f"invalid UTS mode: {host.uts_mode}")
    if host.userns_mode not in ("", "host", "private"):
        raise InvalidParameter(f"invalid user namespace mode: {host.userns_mode}")
    if host.cgroupns_mode not in ("", "host", "private"):
        raise InvalidParameter(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    if host.network_mode == "container:":
        raise InvalidParameter("Invalid network mode: invalid container format container:<name|id>")


def _check_network_conflicts(config: ContainerConfig, host: HostConfig) -> None:
    joined = host.network_mode.startswith("container:")
    shares_host = host.network_mode == "host"
    if host.uts_mode == "host" and config.hostname:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if (joined or shares_host) and host.links:
        kind = "container" if joined else "host"
        noun = "network" if joined else "networking"
        raise InvalidParameter(
            f"conflicting options: {kind} type {noun} can't be used with links. This would result"
            " in undefined behavior"
        )
    if not joined:
        return
    for given, what in (
        (config.hostname, "hostname and the network mode"),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (config.mac_address, "mac-address and the network mode"),
        (
            host.port_bindings or host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (config.exposed_ports, "port exposing and the container type network mode"),
    ):
        if given:
            raise InvalidParameter(f"conflicting options: {what}")


def _check_sysctls(sysctls: Mapping[str, str], host: HostConfig) -> None:
    for name in sysctls:
        if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if host.ipc_mode == "host":
                raise InvalidParameter(f"sysctl '{name}' is not allowed with host ipc namespace")
        elif _NETWORK_SYSCTL.match(name):
            if host.network_mode == "host":
                raise InvalidParameter(
                    f"sysctl '{name}' is not allowed with host network namespace"
                )
        elif name in ("kernel.domainname", "kernel.hostname"):
            if host.uts_mode == "host":
                raise InvalidParameter(f"sysctl '{name}' is not allowed with host uts namespace")
        else:
            raise InvalidParameter(f"sysctl '{name}' is not whitelisted: it is not namespaced")
