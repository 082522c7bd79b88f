"""From the flags of ``run`` and ``create`` to the body of ``POST /containers/create``."""

from __future__ import annotations

from wherry.cli.options import checks
from wherry.cli.options.files import read_lines, security_options
from wherry.cli.options.mounts import split_volumes
from wherry.cli.options.networks import Attachment, endpoints
from wherry.cli.options.ports import port_maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options


def container_body(
    options: Options, arguments: list[str], proxies: dict[str, str]
) -> dict[str, Any]:
    """The request body; raises ValueError with what a user reads for contradicting flags.

    ``arguments`` are the image and the command; ``proxies`` are variables from the client's
    configuration that the flags may override.
    """
    if options["mac-address"]:
        checks.mac_address(options["mac-address"])
    if not -1 <= options["memory-swappiness"] <= 100:
        raise ValueError(
            f"invalid value: {options['memory-swappiness']}. Valid memory swappiness range is 0-100"
        )
    binds, volumes = split_volumes(options["volume"])
    exposed, bindings = port_maps(options["publish"], options["expose"])
    attached = set(options["attach"])
    attach_stdin = "stdin" in attached or options["interactive"]
    entrypoint = [options["entrypoint"]] if options.given("entrypoint") else None
    config: dict[str, Any] = {
        "Hostname": options["hostname"],
        "Domainname": options["domainname"],
        "User": options["user"],
        "AttachStdin": attach_stdin,
        "AttachStdout": "stdout" in attached or not attached,
        "AttachStderr": "stderr" in attached or not attached,
        "Tty": options["tty"],
        "OpenStdin": options["interactive"],
        "StdinOnce": options["interactive"] and attach_stdin,
        "Env": _environment(options, proxies),
        "Cmd": arguments[1:] or None,
        "Image": arguments[0],
        "Volumes": volumes,
        "WorkingDir": options["workdir"],
        "Entrypoint": entrypoint,
        "OnBuild": None,
        "Labels": _labels(options),
    }
    if exposed:
        config["ExposedPorts"] = exposed
    if health := _health(options):
        config["Healthcheck"] = health
    if options["stop-signal"]:
        config["StopSignal"] = options["stop-signal"]
    if options.given("stop-timeout"):
        config["StopTimeout"] = options["stop-timeout"]
    attachments = _attachments(options)
    connected = endpoints(attachments)
    if len(attachments) == 1 and options["network"] and attachments[0].plain:
        connected = {}  # the mode alone says it all
    host = _host_config(options, binds, bindings, attachments[0].name)
    return {
        **config,
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": connected},
    }


def _environment(options: Options, proxies: dict[str, str]) -> list[str] | None:
    """Variables of files, then those of flags, of which the last of a name counts."""
    lines = [
        line for path in options["env-file"] for line in read_lines(path, from_environment=True)
    ]
    given = {entry.partition("=")[0]: entry for entry in options["env"]}
    for name, value in proxies.items():
        given.setdefault(name, f"{name}={value}")
    return [*lines, *given.values()] or None


def _labels(options: Options) -> dict[str, str]:
    labels: dict[str, str] = {}
    lines = [
        line for path in options["label-file"] for line in read_lines(path, from_environment=False)
    ]
    for entry in [*lines, *options["label"]]:
        name, _, value = entry.partition("=")
        labels[name] = value
    return labels


_HEALTH_LIMITS = (
    ("health-interval", "Interval"),
    ("health-timeout", "Timeout"),
    ("health-start-period", "StartPeriod"),
    ("health-start-interval", "StartInterval"),
    ("health-retries", "Retries"),
)


def _health(options: Options) -> dict[str, Any] | None:
    given = {key: options[flag] for flag, key in _HEALTH_LIMITS if options[flag]}
    if options["no-healthcheck"]:
        if options["health-cmd"] or given:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    for flag, _ in _HEALTH_LIMITS:
        if options[flag] < 0:
            raise ValueError(f"--{flag} cannot be negative")
    health: dict[str, Any] = dict(given)
    if options["health-cmd"]:
        health["Test"] = ["CMD-SHELL", options["health-cmd"]]
    return health or None


def _capabilities(names: list[str]) -> set[str]:
    """Names in the kernel's spelling: ``CAP_NET_ADMIN``, or ``ALL``."""
    upper = {name.strip().upper() for name in names}
    return {
        name if name in ("ALL", "RESET") or name.startswith("CAP_") else f"CAP_{name}"
        for name in upper
    }


def _attachments(options: Options) -> list[Attachment]:
    """The networks, with what the older flags say put into the first of them."""
    attachments: list[Attachment] = list(options["network"])
    if not attachments:
        attachments = [Attachment("default")]
    first = attachments[0]
    merges = (
        ("aliases", options["network-alias"], "--network-alias and per-network alias"),
        ("links", options["link"] if first.user_defined else [], "--link and per-network links"),
        ("ip", options["ip"], "--ip and per-network IPv4 address"),
        ("ip6", options["ip6"], "--ip6 and per-network IPv6 address"),
        (
            "link_local_ips",
            options["link-local-ip"],
            "--link-local-ip and per-network link-local IP addresses",
        ),
        ("mac", options["mac-address"], "--mac-address and per-network MAC address"),
    )
    for field, value, words in merges:
        if not value:
            continue
        if getattr(first, field):
            raise ValueError(f"conflicting options: cannot specify both {words}")
        setattr(first, field, value)
    return attachments


def _modes(options: Options) -> None:
    """Check the namespace modes that have few values; the daemon knows those of --ipc."""
    pid = options["pid"]
    if pid not in ("", "host") and not pid.removeprefix("container:") != pid:
        raise ValueError("--pid: invalid PID mode")
    if pid == "container:":
        raise ValueError("--pid: invalid PID mode")
    if options["uts"] not in ("", "host"):
        raise ValueError("--uts: invalid UTS mode")
    if options["userns"] not in ("", "host"):
        raise ValueError("--userns: invalid USER mode")
    if options["cgroupns"] not in ("", "private", "host"):
        raise ValueError("--cgroupns: invalid CGROUP mode")


def _host_config(
    options: Options,
    binds: list[str],
    bindings: dict[str, list[dict[str, str]]],
    network_mode: str,
) -> dict[str, Any]:
    _modes(options)
    restart = checks.restart_policy(options["restart"])
    if options["rm"] and restart["Name"] not in ("no", ""):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    security, unconfined_paths = security_options(options["security-opt"])
    paths: list[str] | None = [] if unconfined_paths else None
    add, drop = _capabilities(options["cap-add"]), _capabilities(options["cap-drop"])
    host: dict[str, Any] = {
        "Binds": binds or None,
        "ContainerIDFile": options["cidfile"],
        "LogConfig": _log_config(options),
        "NetworkMode": network_mode,
        "PortBindings": bindings,
        "RestartPolicy": restart,
        "AutoRemove": options["rm"],
        "VolumeDriver": options["volume-driver"],
        "VolumesFrom": options["volumes-from"] or None,
        "ConsoleSize": [0, 0],
        "CapAdd": sorted(add) or None,
        "CapDrop": sorted(drop) or None,
        "CgroupnsMode": options["cgroupns"],
        "Dns": options["dns"],
        "DnsOptions": options["dns-option"],
        "DnsSearch": options["dns-search"],
        "ExtraHosts": options["add-host"] or None,
        "GroupAdd": options["group-add"] or None,
        "IpcMode": options["ipc"],
        "Cgroup": "",
        "Links": options["link"] or None,
        "OomScoreAdj": options["oom-score-adj"],
        "PidMode": options["pid"],
        "Privileged": options["privileged"],
        "PublishAllPorts": options["publish-all"],
        "ReadonlyRootfs": options["read-only"],
        "SecurityOpt": security if options["security-opt"] else None,
        "UTSMode": options["uts"],
        "UsernsMode": options["userns"],
        "ShmSize": options["shm-size"],
        "Isolation": options["isolation"],
        **_resources(options),
        "MaskedPaths": paths,
        "ReadonlyPaths": paths,
    }
    optional = {
        "StorageOpt": _storage_options(options),
        "Tmpfs": _tmpfs(options),
        "Sysctls": options["sysctl"],
        "Runtime": options["runtime"],
        "Mounts": options["mount"],
        "Annotations": options["annotation"],
    }
    host.update({key: value for key, value in optional.items() if value})
    if options.given("init"):
        host["Init"] = options["init"]
    return host


def _log_config(options: Options) -> dict[str, Any]:
    values = options["log-opt"]
    if options["log-driver"] == "none" and values:
        raise ValueError("invalid logging opts for driver none")
    entries = (value.partition("=") for value in values)
    return {
        "Type": options["log-driver"],
        "Config": {name: content for name, _, content in entries},
    }


def _storage_options(options: Options) -> dict[str, str]:
    result = {}
    for value in options["storage-opt"]:
        name, equals, content = value.partition("=")
        if not equals:
            raise ValueError("invalid storage option")
        result[name] = content
    return result


def _tmpfs(options: Options) -> dict[str, str]:
    entries = (value.partition(":") for value in options["tmpfs"])
    return {path: settings for path, _, settings in entries}


def _resources(options: Options) -> dict[str, Any]:
    devices, requests = _devices(options)
    return {
        "CpuShares": options["cpu-shares"],
        "Memory": options["memory"],
        "NanoCpus": options["cpus"],
        "CgroupParent": options["cgroup-parent"],
        "BlkioWeight": options["blkio-weight"],
        "BlkioWeightDevice": options["blkio-weight-device"],
        "BlkioDeviceReadBps": options["device-read-bps"],
        "BlkioDeviceWriteBps": options["device-write-bps"],
        "BlkioDeviceReadIOps": options["device-read-iops"],
        "BlkioDeviceWriteIOps": options["device-write-iops"],
        "CpuPeriod": options["cpu-period"],
        "CpuQuota": options["cpu-quota"],
        "CpuRealtimePeriod": options["cpu-rt-period"],
        "CpuRealtimeRuntime": options["cpu-rt-runtime"],
        "CpusetCpus": options["cpuset-cpus"],
        "CpusetMems": options["cpuset-mems"],
        "Devices": devices,
        "DeviceCgroupRules": options["device-cgroup-rule"] or None,
        "DeviceRequests": requests or None,
        "MemoryReservation": options["memory-reservation"],
        "MemorySwap": options["memory-swap"],
        "MemorySwappiness": options["memory-swappiness"],
        "OomKillDisable": options["oom-kill-disable"],
        "PidsLimit": options["pids-limit"],
        "Ulimits": list({limit["Name"]: limit for limit in options["ulimit"]}.values()),
        "CpuCount": options["cpu-count"],
        "CpuPercent": options["cpu-percent"],
        "IOMaximumIOps": options["io-maxiops"],
        "IOMaximumBandwidth": options["io-maxbandwidth"],
    }


def _devices(options: Options) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """``--device`` values as device mappings, or as requests when they are CDI names."""
    devices: list[dict[str, str]] = []
    named: list[str] = []
    for text in options["device"]:
        if _is_cdi_name(text):
            named.append(text)
        else:
            devices.append(device_mapping(text))
    requests = list(options["gpus"])
    if named:
        requests.append(
            {
                "Driver": "cdi",
                "Count": 0,
                "DeviceIDs": named,
                "Capabilities": None,
                "Options": None,
            }
        )
    return devices, requests


def _is_cdi_name(text: str) -> bool:
    """``vendor.com/class=name`` is a name of the Container Device Interface."""
    kind, equals, name = text.partition("=")
    vendor, slash, device_class = kind.partition("/")
    return bool(
        equals and slash and name and device_class and vendor[:1].isalpha() and "/" not in name
    )


def device_mapping(text: str) -> dict[str, str]:
    """``/dev/x[:/dev/y[:rwm]]``; raises ValueError."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"bad format for path: {text}")
    source = target = parts[0]
    permissions = "rwm"
    if len(parts) == 3:
        target, permissions = parts[1], parts[2]
    elif len(parts) == 2:
        if _is_device_mode(parts[1]):
            permissions = parts[1]
        else:
            target = parts[1]
    if len(parts) == 3 and not _is_device_mode(permissions):
        raise ValueError(f"bad mode specified: {permissions}")
    if not target.startswith("/"):
        raise ValueError(f"{target} is not an absolute path")
    return {
        "PathOnHost": source,
        "PathInContainer": target,
        "CgroupPermissions": permissions,
    }


def _is_device_mode(text: str) -> bool:
    return bool(text) and len(set(text)) == len(text) and set(text) <= set("rwm")
