"""API bodies to typed requests: networks to create, endpoints, the network part of a container.

Pure; raises InvalidParameter in Docker's words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from wherry.errors import InvalidParameter, NotFound
from wherry.network import files
from wherry.network.firewall import Protocol
from wherry.network.ipam import Pool, Subnet, parse_pool
from wherry.network.model import Address, EndpointConfig, Mode, PortBinding, SandboxConfig
from wherry.numbers import whole_number

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_MAC = re.compile(r"[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}")


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """A network that somebody wants; subnets that were not chosen are still missing."""

    name: str
    driver: str
    pools: tuple[Pool, ...]
    ranges: tuple[Subnet, ...]
    ipv4: bool
    ipv6: bool
    internal: bool
    attachable: bool
    ingress: bool
    config_only: bool
    config_from: str
    ipam_driver: str
    ipam_options: dict[str, str] | None
    options: dict[str, str]
    labels: dict[str, str]


def network_request(body: Mapping[str, Any]) -> NetworkRequest:
    """The body of ``POST /networks/create``."""
    name = body.get("Name") or ""
    if not name:
        raise InvalidParameter("network name is required")
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"invalid network name: {name}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    ipam = body.get("IPAM") or {}
    entries = [entry for entry in ipam.get("Config") or [] if entry]
    for entry in entries:
        if not entry.get("Subnet") and (entry.get("Gateway") or entry.get("IPRange")):
            raise InvalidParameter("invalid network config:\ninvalid subnet : subnet is required")
    pools = tuple(parse_pool(entry) for entry in entries if entry.get("Subnet"))
    for position, pool in enumerate(pools):
        for other in pools[:position]:
            if pool.subnet.version == other.subnet.version and _overlap(pool, other):
                raise InvalidParameter(
                    f"invalid network config:\nsubnets {other.subnet} and {pool.subnet} overlap"
                )
    ipam_driver = ipam.get("Driver") or "default"
    if ipam_driver not in ("default", "null"):
        raise NotFound(f'plugin "{ipam_driver}" not found')
    if ipam_driver == "null" and pools:
        raise InvalidParameter("null ipam driver does not handle specific address pool requests")
    ipv6 = bool(body.get("EnableIPv6"))
    ipv4 = body.get("EnableIPv4")
    if ipv4 is False and not ipv6:
        raise InvalidParameter("IPv4 or IPv6 must be enabled")
    return NetworkRequest(
        name=name,
        driver=body.get("Driver") or "bridge",
        pools=pools,
        ranges=(),
        ipv4=ipv4 is not False,
        ipv6=ipv6,
        internal=bool(body.get("Internal")),
        attachable=bool(body.get("Attachable")),
        ingress=bool(body.get("Ingress")),
        config_only=bool(body.get("ConfigOnly")),
        config_from=(body.get("ConfigFrom") or {}).get("Network") or "",
        ipam_driver=ipam_driver,
        ipam_options=_texts(ipam["Options"]) if ipam.get("Options") is not None else None,
        options=_texts(body.get("Options") or {}),
        labels=_texts(body.get("Labels") or {}),
    )


def _overlap(one: Pool, other: Pool) -> bool:
    return one.subnet.network_address in other.subnet or other.subnet.network_address in one.subnet


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items()}


def endpoint_config(network: str, body: Mapping[str, Any] | None) -> EndpointConfig:
    """An EndpointSettings of ``POST /containers/create`` or ``/networks/{id}/connect``."""
    body = body or {}
    ipam = body.get("IPAMConfig") or {}
    problems = []
    ipv4, ipv6 = ipam.get("IPv4Address") or "", ipam.get("IPv6Address") or ""
    if ipv4 and _version(ipv4) != 4:
        problems.append(f"invalid IPv4 address: {ipv4}")
    if ipv6 and _version(ipv6) != 6:
        problems.append(f"invalid IPv6 address: {ipv6}")
    local = tuple(str(address) for address in ipam.get("LinkLocalIPs") or [])
    problems += [f"invalid link-local IP address: {ip}" for ip in local if not _version(ip)]
    mac = body.get("MacAddress") or ""
    if mac and not _MAC.fullmatch(mac):
        problems.append(f"invalid MAC address: {mac}")
    if problems:
        raise InvalidParameter("invalid endpoint settings:\n" + "\n".join(problems))
    options = body.get("DriverOpts")
    return EndpointConfig(
        network=network,
        ipv4=ipv4,
        ipv6=ipv6,
        link_local=local,
        mac=_canonical_mac(mac),
        aliases=tuple(dict.fromkeys(str(alias) for alias in body.get("Aliases") or [])),
        links=tuple(str(link) for link in body.get("Links") or []),
        driver_options=_texts(options) if options else None,
        gateway_priority=int(body.get("GwPriority") or 0),
        has_ipam_config=body.get("IPAMConfig") is not None,
    )


def _version(text: str) -> int:
    try:
        return ip_address(text).version
    except ValueError:
        return 0


def _canonical_mac(text: str) -> str:
    return ":".join(part.zfill(2) for part in re.split("[:-]", text.lower())) if text else ""


def sandbox_config(
    container: str,
    name: str,
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    networking_config: Mapping[str, Any] | None,
) -> SandboxConfig:
    """The network part of ``POST /containers/create``.

    ``container:`` modes must hold the full id of the other container already.
    """
    text = host_config.get("NetworkMode") or "default"
    mode, joined, primary = _mode(text)
    endpoints: list[EndpointConfig] = []
    wanted = dict((networking_config or {}).get("EndpointsConfig") or {})
    if mode == "private":
        if "default" in wanted:
            wanted["bridge"] = wanted.pop("default")
        first = endpoint_config(primary, wanted.pop(primary, None))
        if config.get("MacAddress") and not first.mac:
            mac = str(config["MacAddress"])
            if not _MAC.fullmatch(mac):
                raise InvalidParameter(f"invalid MAC address: {mac}")
            first = replace(first, mac=_canonical_mac(mac))
        endpoints = [first, *(endpoint_config(key, value) for key, value in wanted.items())]
    elif mode in ("host", "none"):
        given = endpoint_config(mode, wanted.get(mode))
        if given.ipv4 or given.ipv6:
            raise InvalidParameter(
                "invalid endpoint settings:\nuser specified IP address is supported on user"
                " defined networks only"
            )
        endpoints = [EndpointConfig(mode)]
    if mode != "private" and set(wanted) - {text}:
        raise InvalidParameter(
            "container cannot be connected to multiple networks with one of the networks"
            f" in {text.partition(':')[0]} mode"
        )
    bindings = port_bindings(host_config.get("PortBindings") or {})
    if mode == "container" and (bindings or host_config.get("PublishAllPorts")):
        raise InvalidParameter(
            "conflicting options: port publishing and the container type network mode"
        )
    if mode == "container" and config.get("Hostname") and config.get("Hostname") != container[:12]:
        raise InvalidParameter("conflicting options: hostname and the network mode")
    servers = tuple(host_config.get("Dns") or ())
    files.check_servers(servers)
    extra = tuple(host_config.get("ExtraHosts") or ())
    for entry in extra:
        files.parse_extra_host(entry, ("0.0.0.0",))
    return SandboxConfig(
        container=container,
        name=name,
        hostname=config.get("Hostname") or container[:12],
        domainname=config.get("Domainname") or "",
        mode=mode,
        joined=joined,
        endpoints=tuple(endpoints),
        exposed=tuple(port_key(key) for key in config.get("ExposedPorts") or {}),
        bindings=bindings,
        publish_all=bool(host_config.get("PublishAllPorts")),
        links=tuple(host_config.get("Links") or ()),
        dns=servers,
        dns_search=tuple(host_config.get("DnsSearch") or ()),
        dns_options=tuple(host_config.get("DnsOptions") or ()),
        extra_hosts=extra,
    )


def _mode(text: str) -> tuple[Mode, str, str]:
    if text in ("host", "none"):
        return ("host" if text == "host" else "none"), "", ""
    if text.startswith("container:"):
        return "container", text.partition(":")[2], ""
    return "private", "", "bridge" if text == "default" else text


def port_key(key: str) -> tuple[int, Protocol]:
    """A port as the API writes it: ``80/tcp``, ``53/udp``, ``80``."""
    number, _, name = key.partition("/")
    protocols: dict[str, Protocol] = {"": "tcp", "tcp": "tcp", "udp": "udp", "sctp": "sctp"}
    protocol = protocols.get(name.lower())
    if protocol is None:
        raise InvalidParameter(f"invalid port specification: {key}: invalid proto: {name}")
    port = whole_number(number)
    if port is None or not 0 < port < 65536:
        raise InvalidParameter(f"invalid port specification: {key}: invalid port: {number}")
    return port, protocol


def port_bindings(
    body: Mapping[str, Sequence[Mapping[str, Any]] | None],
) -> tuple[PortBinding, ...]:
    """``HostConfig.PortBindings``; an empty list of places means one chosen by the engine."""
    found = []
    for key, places in body.items():
        port, protocol = port_key(key)
        for place in places or [{}]:
            low, high = _host_range(str(place.get("HostPort") or ""))
            found.append(
                PortBinding(protocol, port, _host_address(place.get("HostIp") or ""), low, high)
            )
    return tuple(found)


def _host_address(text: str) -> Address | None:
    if not text:
        return None
    try:
        return ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise InvalidParameter(f"invalid IP address: {text}") from None


def _host_range(text: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    try:
        first = int(low or "0")
        last = int(high) if dash else first
    except ValueError:
        raise InvalidParameter(f'invalid port specification: "{text}"') from None
    if not 0 <= first <= last < 65536:
        raise InvalidParameter(f'invalid port specification: "{text}"')
    return first, last
