"""The daemon's options as the engine's configuration."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any

from wherry.engine.options import EngineConfig
from wherry.errors import InvalidParameter
from wherry.network.ipam import DEFAULT_POOLS
from wherry.network.options import NetworkOptions, address_pools

_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_LABEL = re.compile(r"[^=\s]+(=.*)?")


def engine_config(options: Mapping[str, Any]) -> EngineConfig:
    """What the engine is opened with; raises InvalidParameter for values that cannot be meant."""
    for name in ("max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts"):
        if options[name] < 0:
            raise InvalidParameter(f"invalid {name}: {options[name]}")
    for label in options["label"]:
        if not _LABEL.fullmatch(label):
            raise InvalidParameter(f"bad attribute format: {label}")
    for name, choices in (
        ("default-cgroupns-mode", ("host", "private")),
        ("default-ipc-mode", ("shareable", "private")),
    ):
        if options[name] not in choices:
            raise InvalidParameter(f"{name} must be one of {', '.join(choices)}: {options[name]}")
    _check_refusals(options)
    _set_proxies(options)
    return EngineConfig(
        data_root=os.path.abspath(options["data-root"]),
        exec_root=os.path.abspath(options["exec-root"]),
        storage_driver=options["storage-driver"],
        storage_options=tuple(options["storage-opt"]),
        network=_network(options),
        cgroup_parent=options["cgroup-parent"],
        cgroupns_mode=options["default-cgroupns-mode"],
        ipc_mode=options["default-ipc-mode"],
        shm_size=parse_size(options["default-shm-size"]),
        ulimits={
            name: (int(limit.get("Soft", 0)), int(limit.get("Hard", limit.get("Soft", 0))))
            for name, limit in options["default-ulimit"].items()
        },
        log_driver=options["log-driver"],
        log_options=dict(options["log-opt"]),
        init=options["init"],
        init_path=_program(options["init-path"], "init-path"),
        live_restore=options["live-restore"],
        reset=options["reset"],
        shutdown_timeout=options["shutdown-timeout"],
        features=features(options["feature"]),
        no_new_privileges=options["no-new-privileges"],
        seccomp_profile=options["seccomp-profile"],
        userns_host=options["userns-remap"] == "host",
        default_runtime=options["default-runtime"],
        runtimes=options["add-runtime"],
        default_registry=options["default-registry"],
        registry_mirrors=tuple(options["registry-mirror"]),
        insecure_registries=tuple(options["insecure-registry"]),
        max_concurrent_downloads=options["max-concurrent-downloads"],
        max_concurrent_uploads=options["max-concurrent-uploads"],
        max_download_attempts=options["max-download-attempts"],
        labels=tuple(options["label"]),
        debug=options["debug"] or options["log-level"] == "debug",
        experimental=options["experimental"],
    )


_FEATURES = {
    "buildkit": "",
    "cdi": "Wherry does not read CDI specifications; use --device",
    "containerd-snapshotter": "Wherry stores images by itself, without containerd",
}
"""Features of dockerd that can be set; those that cannot be turned on here, with the reason."""


def features(given: Mapping[str, Any]) -> dict[str, bool]:
    """``--feature`` and ``features``; raises InvalidParameter."""
    found = {}
    for name, value in given.items():
        if name not in _FEATURES:
            raise InvalidParameter(f"unknown feature: {name}")
        if value not in (True, False, "true", "false"):
            raise InvalidParameter(f"invalid value for feature {name}: {value}")
        found[name] = value in (True, "true")
        if found[name] and _FEATURES[name]:
            raise InvalidParameter(f"feature {name}: {_FEATURES[name]}")
    return found


def _check_refusals(options: Mapping[str, Any]) -> None:
    """Raise InvalidParameter for values that mean something that does not exist here."""
    for text in options["exec-opt"]:
        name, _, value = text.partition("=")
        if name.strip().lower() != "native.cgroupdriver":
            raise InvalidParameter(f"unknown exec option: {name}")
        if value != "cgroupfs":
            raise InvalidParameter(
                f"exec option {text}: Wherry makes cgroups by itself: the driver is cgroupfs"
            )
    if options["userns-remap"] not in ("", "default", "host"):
        raise InvalidParameter(
            f"userns-remap {options['userns-remap']}: each container has a range of ids of its own,"
            ' so it must be "default" or "host"'
        )
    if "/" in options["default-registry"]:
        raise InvalidParameter(
            f"invalid default-registry: {options['default-registry']} is not HOST[:PORT]"
        )
    if not -1000 <= options["oom-score-adjust"] <= 1000:
        raise InvalidParameter(f"invalid oom-score-adjust: {options['oom-score-adjust']}")
    if options["shutdown-timeout"] < -1:
        raise InvalidParameter(f"invalid shutdown-timeout: {options['shutdown-timeout']}")


def _program(path: str, name: str) -> str:
    if path and not os.access(path, os.X_OK):
        raise InvalidParameter(f"{name} {path}: no such program")
    return path


def parse_size(text: str) -> int:
    """Bytes of ``64m``, ``64MiB``, ``1.5g``; raises InvalidParameter."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidParameter(f"invalid size: '{text}'")
    number, unit = match.groups()
    return int(float(number) * 1024 ** " kmgtp".index(unit.lower() or " "))


def _network(options: Mapping[str, Any]) -> NetworkOptions:
    for name in ("bip", "bip6", "fixed-cidr", "fixed-cidr-v6"):
        _check(ipaddress.ip_interface, options[name], f"invalid {name}")
    for address in (options["ip"], *options["dns"]):
        _check(ipaddress.ip_address, address, "invalid IP address")
    pools = options["default-address-pool"]
    return NetworkOptions(
        "",
        "",
        bridge=options["bridge"],
        bip=options["bip"],
        bip6=options["bip6"],
        fixed_cidr=options["fixed-cidr"],
        fixed_cidr_v6=options["fixed-cidr-v6"],
        default_gateway=options["default-gateway"],
        default_gateway_v6=options["default-gateway-v6"],
        mtu=options["mtu"],
        icc=options["icc"],
        ip_masq=options["ip-masq"],
        ip_forward=options["ip-forward"],
        ip=options["ip"],
        ipv6=options["ipv6"],
        default_network_options=options["default-network-opt"],
        firewall_versions=tuple(
            version
            for version, name in ((4, "iptables"), (6, "ip6tables"))
            if options[name] and options["iptables"]
        ),
        default_address_pools=_pools(pools) if pools else DEFAULT_POOLS,
        dns=tuple(options["dns"]),
        dns_search=tuple(options["dns-search"]),
        dns_options=tuple(options["dns-opt"]),
        host_gateway_ips=tuple(options["host-gateway-ip"]),
    )


def _pools(given: Any) -> Any:
    try:
        return address_pools([{"Base": pool["base"], "Size": pool["size"]} for pool in given])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidParameter(f"invalid default address pool: {error}") from None


def _check(parse: Any, value: str, problem: str) -> None:
    if value:
        try:
            parse(value)
        except ValueError as error:
            raise InvalidParameter(f"{problem}: {error}") from None


def _set_proxies(options: Mapping[str, Any]) -> None:
    """Registries are reached through these; the registry client reads the environment."""
    for name in ("http-proxy", "https-proxy", "no-proxy"):
        if options[name]:
            os.environ[name.upper().replace("-", "_")] = options[name]
