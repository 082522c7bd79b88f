"""What the network room knows, as data: networks, endpoints, published ports, sandboxes.

All frozen; all with a JSON form for the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, Literal, TypeAlias

from wherry.network.firewall import Protocol
from wherry.network.ipam import Pool

Address: TypeAlias = IPv4Address | IPv6Address
Interface: TypeAlias = IPv4Interface | IPv6Interface
Json: TypeAlias = dict[str, Any]
Mode: TypeAlias = Literal["private", "host", "none", "container"]

PREDEFINED = ("bridge", "host", "none")


@dataclass(frozen=True, slots=True)
class Network:
    """A network as it is kept in the store."""

    id: str
    name: str
    driver: str
    created: str
    pools: tuple[Pool, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    ipam_driver: str = "default"
    ipam_options: Mapping[str, str] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_ipam(self) -> bool:
        """Whether the engine gives addresses here (``--ipam-driver null``: somebody else does)."""
        return self.ipam_driver != "null"

    @property
    def is_default(self) -> bool:
        """Whether this is the network of containers that name none."""
        return self.name == "bridge"

    @property
    def is_user_defined(self) -> bool:
        return self.name not in PREDEFINED

    def gateway(self, version: int) -> Interface | None:
        """The gateway of IP ``version`` with its prefix length."""
        for pool in self.pools:
            if pool.subnet.version == version and pool.gateway:
                return ip_interface(f"{pool.gateway}/{pool.subnet.prefixlen}")
        return None


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """What was asked for one attachment of a container to a network."""

    network: str
    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    driver_options: Mapping[str, str] | None = None
    gateway_priority: int = 0
    has_ipam_config: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One attachment of a container that has its addresses."""

    id: str
    container: str
    network: str
    interface: str
    mac: str
    ipv4: Interface | None = None
    ipv6: Interface | None = None
    gateway4: Address | None = None
    gateway6: Address | None = None
    dns_names: tuple[str, ...] = ()

    def address(self, version: int) -> Address | None:
        """The address of IP ``version`` without its prefix length."""
        interface = self.ipv4 if version == 4 else self.ipv6
        return interface.ip if interface else None


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A port of a container and, when it is published, where on the host.

    ``host_port`` 0 lets the engine choose, out of ``host_port``..``host_port_end`` when that is
    a range. ``host_address`` None means the network's default binding address.
    """

    protocol: Protocol
    port: int
    host_address: Address | None
    host_port: int
    host_port_end: int


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of a container at its final place on the host."""

    protocol: Protocol
    port: int
    host_address: Address
    host_port: int


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """The network part of a container's configuration."""

    container: str
    name: str
    hostname: str
    domainname: str
    mode: Mode
    joined: str = ""
    endpoints: tuple[EndpointConfig, ...] = ()
    exposed: tuple[tuple[int, Protocol], ...] = ()
    bindings: tuple[PortBinding, ...] = ()
    publish_all: bool = False
    links: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a container's start needs: addresses and ports are reserved in the store."""

    config: SandboxConfig
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    hosts: str = ""
    resolv_conf: str = ""
    hostname: str = ""
    environment: tuple[str, ...] = ()

    @property
    def container(self) -> str:
        return self.config.container


def network_json(network: Network) -> Json:
    """The JSON form of a network."""
    return {
        "driver": network.driver,
        "created": network.created,
        "pools": [
            {
                "subnet": str(pool.subnet),
                "gateway": str(pool.gateway) if pool.gateway else None,
                "range": str(pool.range) if pool.range else None,
                "auxiliary": {name: str(address) for name, address in pool.auxiliary},
                "gateway_requested": pool.gateway_requested,
                "subnet_requested": pool.subnet_requested,
            }
            for pool in network.pools
        ],
        "ipv4": network.ipv4,
        "ipv6": network.ipv6,
        "internal": network.internal,
        "attachable": network.attachable,
        "ingress": network.ingress,
        "config_only": network.config_only,
        "config_from": network.config_from,
        "ipam_driver": network.ipam_driver,
        "ipam_options": network.ipam_options,
        "options": dict(network.options),
        "labels": dict(network.labels),
    }


def network_from_json(identity: str, name: str, data: Json) -> Network:
    """Reverse of ``network_json``."""
    pools = tuple(
        Pool(
            subnet=ip_network(pool["subnet"]),
            gateway=ip_address(pool["gateway"]) if pool["gateway"] else None,
            range=ip_network(pool["range"]) if pool["range"] else None,
            auxiliary=tuple((key, ip_address(value)) for key, value in pool["auxiliary"].items()),
            gateway_requested=pool["gateway_requested"],
            subnet_requested=pool["subnet_requested"],
        )
        for pool in data["pools"]
    )
    return Network(id=identity, name=name, **{**data, "pools": pools})


def endpoint_json(endpoint: Endpoint) -> Json:
    """The JSON form of an endpoint."""
    return {
        "id": endpoint.id,
        "interface": endpoint.interface,
        "mac": endpoint.mac,
        **{
            key: str(value) if value else None
            for key, value in (
                ("ipv4", endpoint.ipv4),
                ("ipv6", endpoint.ipv6),
                ("gateway4", endpoint.gateway4),
                ("gateway6", endpoint.gateway6),
            )
        },
        "dns_names": list(endpoint.dns_names),
    }


def endpoint_from_json(container: str, network: str, data: Json) -> Endpoint:
    """Reverse of ``endpoint_json``."""
    return Endpoint(
        id=data["id"],
        container=container,
        network=network,
        interface=data["interface"],
        mac=data["mac"],
        ipv4=ip_interface(data["ipv4"]) if data["ipv4"] else None,
        ipv6=ip_interface(data["ipv6"]) if data["ipv6"] else None,
        gateway4=ip_address(data["gateway4"]) if data["gateway4"] else None,
        gateway6=ip_address(data["gateway6"]) if data["gateway6"] else None,
        dns_names=tuple(data["dns_names"]),
    )


def sandbox_json(config: SandboxConfig) -> Json:
    """The JSON form of a sandbox configuration."""
    return {
        "name": config.name,
        "hostname": config.hostname,
        "domainname": config.domainname,
        "mode": config.mode,
        "joined": config.joined,
        "endpoints": [
            {
                "network": endpoint.network,
                "ipv4": endpoint.ipv4,
                "ipv6": endpoint.ipv6,
                "link_local": list(endpoint.link_local),
                "mac": endpoint.mac,
                "aliases": list(endpoint.aliases),
                "links": list(endpoint.links),
                "driver_options": endpoint.driver_options,
                "gateway_priority": endpoint.gateway_priority,
                "has_ipam_config": endpoint.has_ipam_config,
            }
            for endpoint in config.endpoints
        ],
        "exposed": [list(port) for port in config.exposed],
        "bindings": [
            {
                "protocol": binding.protocol,
                "port": binding.port,
                "host_address": str(binding.host_address) if binding.host_address else None,
                "host_port": binding.host_port,
                "host_port_end": binding.host_port_end,
            }
            for binding in config.bindings
        ],
        "publish_all": config.publish_all,
        **{key: list(getattr(config, key)) for key in _TEXT_LISTS},
    }


_TEXT_LISTS = ("links", "dns", "dns_search", "dns_options", "extra_hosts")


def sandbox_from_json(container: str, data: Json) -> SandboxConfig:
    """Reverse of ``sandbox_json``."""
    endpoints = tuple(
        EndpointConfig(
            **{
                **endpoint,
                **{key: tuple(endpoint[key]) for key in ("link_local", "aliases", "links")},
            }
        )
        for endpoint in data["endpoints"]
    )
    bindings = tuple(
        PortBinding(
            **{
                **binding,
                "host_address": ip_address(binding["host_address"])
                if binding["host_address"]
                else None,
            }
        )
        for binding in data["bindings"]
    )
    changed = {
        "endpoints": endpoints,
        "bindings": bindings,
        "exposed": tuple((int(port), protocol) for port, protocol in data["exposed"]),
        **{key: tuple(data[key]) for key in _TEXT_LISTS},
    }
    return SandboxConfig(container=container, **{**data, **changed})
