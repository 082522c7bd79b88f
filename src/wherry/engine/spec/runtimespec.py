"""The OCI runtime spec of a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig, Ulimit
from wherry.engine.config.mountpoints import MountPoint
from wherry.engine.spec import devices, mounts
from wherry.engine.spec.apparmor import profile_name
from wherry.engine.spec.resources import linux_resources
from wherry.engine.spec.security import capabilities, parse_security_options

RANGE_SIZE = 65536
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class SpecInput:
    """Everything that the spec of a container depends on.

    ``first_id`` is the first host id of its user namespace, None without one. ``joined`` are
    namespaces of others by OCI name, as paths. ``files`` are hosts, hostname and resolv.conf:
    path in the container → path on the host. ``shm`` is a shared /dev/shm, "" for its own.
    """

    config: ContainerConfig
    host: HostConfig
    args: Sequence[str]
    mounts: Sequence[MountPoint] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    first_id: int | None = None
    joined: Mapping[str, str] = field(default_factory=dict)
    shm: str = ""
    linked_environment: Sequence[str] = ()
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    no_new_privileges: bool = False
    apparmor: bool = False
    last_capability: int = 40


def build(given: SpecInput) -> dict[str, Any]:
    """The spec; reads the host's device nodes that were asked for and nothing else.

    Raises InvalidParameter for devices that are not there.
    """
    host = given.host
    security = parse_security_options(host.security_opt)
    nodes, rules = devices.devices(host)
    linux: dict[str, Any] = {
        "namespaces": namespaces(given),
        "resources": {**linux_resources(host), "devices": rules},
        "devices": nodes,
        "maskedPaths": list(host.masked_paths or ()),
        "readonlyPaths": list(host.readonly_paths or ()),
        "sysctl": sysctls(given),
    }
    if given.first_id is not None:
        mapping = [{"containerID": 0, "hostID": given.first_id, "size": RANGE_SIZE}]
        linux |= {"uidMappings": mapping, "gidMappings": mapping}
    propagations = {point.propagation.removeprefix("r") for point in given.mounts}
    if "shared" in propagations:
        linux["rootfsPropagation"] = "shared"
    elif "slave" in propagations:
        linux["rootfsPropagation"] = "rslave"
    own_uts = host.uts_mode != "host" and "uts" not in given.joined
    return {
        "ociVersion": "1.2.0",
        "process": process(given),
        "root": {"path": "rootfs", "readonly": host.readonly_rootfs},
        "hostname": given.config.hostname if own_uts else "",
        "domainname": given.config.domainname if own_uts else "",
        "mounts": [
            *mounts.system_mounts(
                host, writable=host.privileged, writable_cgroups=security.writable_cgroups
            ),
            *mounts.shm_mount(host, given.shm),
            *mounts.user_mounts(given.mounts, given.files, read_only=host.readonly_rootfs),
        ],
        "annotations": dict(host.annotations or {}),
        "linux": linux,
    }


def process(given: SpecInput) -> dict[str, Any]:
    """The ``process`` object of the container's first process."""
    config, host = given.config, given.host
    rows, columns = host.console_size
    security = parse_security_options(host.security_opt)
    no_new_privileges = security.no_new_privileges
    if no_new_privileges is None:
        no_new_privileges = given.no_new_privileges
    return {
        "terminal": config.tty,
        "consoleSize": {"height": rows, "width": columns},
        "user": {"username": config.user or "0", "groupAdd": list(host.group_add or ())},
        "args": list(given.args),
        "env": environment(config, given.linked_environment),
        "cwd": config.working_dir or "/",
        "capabilities": capability_sets(host, given.last_capability),
        "rlimits": rlimits(host.ulimits or (), given.ulimits),
        "noNewPrivileges": no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
        "apparmorProfile": apparmor_profile(host) if given.apparmor else "",
    }


def apparmor_profile(host: HostConfig) -> str:
    """The AppArmor profile of a container, on a host that has AppArmor."""
    asked = parse_security_options(host.security_opt).apparmor
    return profile_name(asked, privileged=host.privileged)


def held_capabilities(host: HostConfig, last: int) -> list[str]:
    """The capabilities that a container's root has."""
    return capabilities(
        host.cap_add or (), host.cap_drop or (), privileged=host.privileged, last=last
    )


def capability_sets(host: HostConfig, last: int) -> dict[str, list[str]]:
    """The sets of a process: execve takes them from other users than root.

    Nothing is ever inheritable or ambient (CVE-2022-24769).
    """
    held = held_capabilities(host, last)
    return {
        "bounding": held,
        "effective": held,
        "permitted": held,
        "inheritable": [],
        "ambient": [],
    }


def environment(config: ContainerConfig, linked: Sequence[str] = ()) -> list[str]:
    """Docker's own variables, those of links, then the configuration's, which win.

    An entry without ``=`` takes a variable away.
    """
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": f"HOSTNAME={config.hostname}"}
    if config.tty:
        variables["TERM"] = "TERM=xterm"
    for entry in (*linked, *(config.env or ())):
        name, given, _ = entry.partition("=")
        if given:
            variables[name] = entry
        else:
            variables.pop(name, None)
    return list(variables.values())


def rlimits(
    chosen: Sequence[Ulimit], defaults: Mapping[str, tuple[int, int]]
) -> list[dict[str, Any]]:
    """``process.rlimits``: the engine's defaults under what was asked for."""
    limits = dict(defaults)
    limits |= {limit.name: (limit.soft, limit.hard) for limit in chosen}
    return [
        {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
        for name, (soft, hard) in limits.items()
    ]


def namespaces(given: SpecInput) -> list[dict[str, str]]:
    """``linux.namespaces``: own ones, joined ones; the host's are left out."""
    host = given.host
    wanted = {
        "user": given.first_id is not None,
        "mount": True,
        "pid": host.pid_mode != "host",
        "uts": host.uts_mode != "host",
        "ipc": host.ipc_mode != "host",
        "network": host.network_mode != "host",
        "cgroup": host.cgroupns_mode == "private",
    }
    found = []
    for kind, own in wanted.items():
        if kind in given.joined:
            found.append({"type": kind, "path": given.joined[kind]})
        elif own:
            found.append({"type": kind})
    return found


def sysctls(given: SpecInput) -> dict[str, str]:
    """Kernel parameters: ports below 1024 and ping for everyone, as Docker sets them."""
    chosen = dict(given.host.sysctls or {})
    own_network = given.host.network_mode != "host" and "network" not in given.joined
    if not own_network:
        return chosen
    highest = RANGE_SIZE - 1 if given.first_id is not None else 2**31 - 1
    return {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": f"0 {highest}",
        **chosen,
    }
