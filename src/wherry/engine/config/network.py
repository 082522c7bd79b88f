# ruff: noqa: RUF009 (api() makes a dataclass field)
"""Bodies of network operations (API 1.51, NetworkCreateRequest and its neighbours)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.engine.config.codec import (
    FLAG,
    INTEGER,
    OBJECT,
    OPTIONAL_FLAG,
    TEXT,
    TEXT_MAP,
    TEXTS,
    api,
    objects,
    objects_by_name,
    one,
)


@dataclass(frozen=True, slots=True)
class IPAMConfig:
    """One subnet of a network, and what of it is given to containers."""

    subnet: str = api("Subnet", TEXT)
    ip_range: str = api("IPRange", TEXT)
    gateway: str = api("Gateway", TEXT)
    auxiliary_addresses: dict[str, str] | None = api("AuxiliaryAddresses", TEXT_MAP)


@dataclass(frozen=True, slots=True)
class IPAM:
    """How addresses of a network are found."""

    driver: str = api("Driver", TEXT)
    options: dict[str, str] | None = api("Options", TEXT_MAP)
    config: tuple[IPAMConfig, ...] | None = api("Config", objects(IPAMConfig))


@dataclass(frozen=True, slots=True)
class ConfigReference:
    """The network that another one takes its configuration from."""

    network: str = api("Network", TEXT)


@dataclass(frozen=True, slots=True)
class NetworkCreate:
    """A network that is to be made."""

    name: str = api("Name", TEXT)
    driver: str = api("Driver", TEXT)
    scope: str = api("Scope", TEXT)
    enable_ipv4: bool | None = api("EnableIPv4", OPTIONAL_FLAG)
    enable_ipv6: bool | None = api("EnableIPv6", OPTIONAL_FLAG)
    ipam: IPAM | None = api("IPAM", one(IPAM))
    internal: bool = api("Internal", FLAG)
    attachable: bool = api("Attachable", FLAG)
    ingress: bool = api("Ingress", FLAG)
    config_only: bool = api("ConfigOnly", FLAG)
    config_from: ConfigReference | None = api("ConfigFrom", one(ConfigReference))
    options: dict[str, str] | None = api("Options", TEXT_MAP)
    labels: dict[str, str] | None = api("Labels", TEXT_MAP)


@dataclass(frozen=True, slots=True)
class EndpointIPAMConfig:
    """The addresses that a container wants on a network."""

    ipv4_address: str = api("IPv4Address", TEXT)
    ipv6_address: str = api("IPv6Address", TEXT)
    link_local_ips: tuple[str, ...] | None = api("LinkLocalIPs", TEXTS)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """What a container wants of its connection to a network."""

    ipam_config: EndpointIPAMConfig | None = api("IPAMConfig", one(EndpointIPAMConfig))
    links: tuple[str, ...] | None = api("Links", TEXTS)
    aliases: tuple[str, ...] | None = api("Aliases", TEXTS)
    mac_address: str = api("MacAddress", TEXT)
    driver_opts: dict[str, str] | None = api("DriverOpts", TEXT_MAP)
    gw_priority: int = api("GwPriority", INTEGER)


@dataclass(frozen=True, slots=True)
class NetworkingConfig:
    """The networks that a new container is connected to, by name."""

    endpoints: dict[str, EndpointSettings | None] | None = api(
        "EndpointsConfig", objects_by_name(EndpointSettings)
    )


@dataclass(frozen=True, slots=True)
class NetworkConnect:
    """A container that is to be put on a network; ``endpoint`` is an `EndpointSettings`."""

    container: str = api("Container", TEXT)
    endpoint: Mapping[str, Any] | None = api("EndpointConfig", OBJECT)


@dataclass(frozen=True, slots=True)
class NetworkDisconnect:
    """A container that is to be taken off a network."""

    container: str = api("Container", TEXT)
    force: bool = api("Force", FLAG)
