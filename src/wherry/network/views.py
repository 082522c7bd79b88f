"""Networks and network settings in the shapes of the Engine API 1.51. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wherry.network.model import Endpoint, EndpointConfig, Network, PublishedPort, SandboxConfig


def network_view(network: Network) -> dict[str, Any]:
    """An entry of ``GET /networks``."""
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": dict(network.ipam_options) if network.ipam_options is not None else None,
            "Config": [
                pool.view() for pool in sorted(network.pools, key=lambda pool: pool.subnet.version)
            ],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Containers": {},
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def network_inspect(
    network: Network, endpoints: Iterable[Endpoint], names: Mapping[str, str]
) -> dict[str, Any]:
    """``GET /networks/{id}``; ``names`` maps container ids to names."""
    view = network_view(network)
    view["Containers"] = {
        endpoint.container: {
            "Name": names.get(endpoint.container, ""),
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": str(endpoint.ipv4 or ""),
            "IPv6Address": str(endpoint.ipv6 or ""),
        }
        for endpoint in endpoints
    }
    return view


def endpoint_view(
    config: EndpointConfig, network: Network | None, endpoint: Endpoint | None
) -> dict[str, Any]:
    """An EndpointSettings of container inspect; without ``endpoint`` it is not connected now."""
    ipam = None
    if config.has_ipam_config or config.ipv4 or config.ipv6:
        ipam = {
            key: value
            for key, value in (
                ("IPv4Address", config.ipv4),
                ("IPv6Address", config.ipv6),
                ("LinkLocalIPs", list(config.link_local)),
            )
            if value
        }
    return {
        "IPAMConfig": ipam,
        "Links": list(config.links) or None,
        "Aliases": list(config.aliases) or None,
        "MacAddress": endpoint.mac if endpoint else config.mac,
        "DriverOpts": dict(config.driver_options) if config.driver_options else None,
        "GwPriority": config.gateway_priority,
        "NetworkID": network.id if network else "",
        "EndpointID": endpoint.id if endpoint else "",
        "Gateway": str((endpoint and endpoint.gateway4) or ""),
        "IPAddress": str((endpoint and endpoint.address(4)) or ""),
        "IPPrefixLen": endpoint.ipv4.network.prefixlen if endpoint and endpoint.ipv4 else 0,
        "IPv6Gateway": str((endpoint and endpoint.gateway6) or ""),
        "GlobalIPv6Address": str((endpoint and endpoint.address(6)) or ""),
        "GlobalIPv6PrefixLen": endpoint.ipv6.network.prefixlen if endpoint and endpoint.ipv6 else 0,
        "DNSNames": list(endpoint.dns_names) or None if endpoint else None,
    }


def ports_view(
    config: SandboxConfig, ports: Sequence[PublishedPort], *, running: bool
) -> dict[str, Any]:
    """``NetworkSettings.Ports``: every exposed port, with its places on the host or null."""
    if not running or config.mode in ("host", "container"):
        return {}
    view: dict[str, Any] = {f"{port}/{protocol}": None for port, protocol in config.exposed}
    for binding in config.bindings:
        view.setdefault(f"{binding.port}/{binding.protocol}", None)
    for port in ports:
        key = f"{port.port}/{port.protocol}"
        place = {"HostIp": str(port.host_address), "HostPort": str(port.host_port)}
        view[key] = [*(view.get(key) or []), place]
    return view


def settings_view(
    config: SandboxConfig,
    connections: Sequence[tuple[EndpointConfig, Network | None, Endpoint | None]],
    ports: Sequence[PublishedPort],
    *,
    sandbox_id: str,
    sandbox_key: str,
) -> dict[str, Any]:
    """``NetworkSettings`` of container inspect.

    The fields beside ``Networks`` repeat the default bridge's endpoint.
    """
    networks = {
        (network.name if network else endpoint_config.network): endpoint_view(
            endpoint_config, network, endpoint
        )
        for endpoint_config, network, endpoint in connections
    }
    default = networks.get("bridge") or endpoint_view(EndpointConfig("bridge"), None, None)
    running = bool(sandbox_id)
    return {
        "Bridge": "",
        "SandboxID": sandbox_id,
        "SandboxKey": sandbox_key,
        "Ports": ports_view(config, ports, running=running),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{
            key: default[key]
            for key in (
                "EndpointID",
                "Gateway",
                "GlobalIPv6Address",
                "GlobalIPv6PrefixLen",
                "IPAddress",
                "IPPrefixLen",
                "IPv6Gateway",
                "MacAddress",
            )
        },
        "Networks": networks,
    }
