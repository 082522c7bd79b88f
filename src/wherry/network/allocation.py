"""Giving out subnets, addresses and host ports, in the store.

Call these inside a transaction of the store: what was given is then given durably, or not at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

from wherry.errors import Conflict, Forbidden, InvalidParameter, WherryError
from wherry.network import ipam, ports
from wherry.network.ipam import AddressPool, Pool, Subnet
from wherry.network.model import (
    Address,
    Endpoint,
    EndpointConfig,
    Interface,
    Network,
    PublishedPort,
    SandboxConfig,
)
from wherry.network.records import Records


def new_id() -> str:
    """A new 64-digit id of a network, an endpoint or a sandbox."""
    return secrets.token_hex(32)


def choose_pools(
    records: Records,
    network: Network,
    default_pools: Sequence[AddressPool],
    routes: Sequence[Subnet],
) -> Network:
    """The network with a subnet for each IP version that it wants.

    Subnets that were asked for must not overlap other networks; subnets that are chosen here
    also keep clear of the host's ``routes``. Raises Forbidden and Conflict in Docker's words.
    """
    others: list[Subnet] = [
        pool.subnet
        for other in records.networks()
        if other.id != network.id and not other.config_only and not _is_parent_only(other)
        for pool in other.pools
    ]
    for pool in network.pools:
        if not _is_parent_only(network) and ipam.overlapping(pool.subnet, others):
            raise Forbidden(
                "invalid pool request: Pool overlaps with other one on this address space"
            )
    pools = list(network.pools)
    for version, wanted in ((4, network.ipv4), (6, network.ipv6)):
        if wanted and not any(pool.subnet.version == version for pool in pools):
            candidates = [pool for pool in default_pools if pool.base.version == version]
            if version == 6 and not candidates:
                candidates = [ipam.unique_local_pool(secrets.token_bytes(5))]
            subnet = ipam.free_subnet(
                candidates, version, [*others, *routes, *(pool.subnet for pool in pools)]
            )
            gateway = ipam.default_gateway(subnet)
            pools.append(Pool(subnet, gateway, None, (), False, False))
    return replace(network, pools=tuple(pools))


def _is_parent_only(network: Network) -> bool:
    """Networks on a parent interface share the segment's own subnet."""
    return network.driver in ("macvlan", "ipvlan")


def reserve(records: Records, network: Network) -> None:
    """Take the addresses of a network that no container may get."""
    for pool in network.pools:
        for address in pool.reserved():
            records.take_address(network.id, address, "")


def give_endpoint(
    records: Records,
    network: Network,
    config: EndpointConfig,
    container: str,
    interface: str,
    dns_names: Sequence[str],
    *,
    has_addresses: bool,
) -> Endpoint:
    """Make an endpoint with its addresses and write it down."""
    ipv4 = ipv6 = None
    if has_addresses and network.has_ipam:
        check_addresses(network, config)
        preferred = records.last_addresses(container, network.id)
        if network.ipv4:
            ipv4 = _give(records, network, 4, config.ipv4, container, preferred)
        if network.ipv6:
            ipv6 = _give(records, network, 6, config.ipv6, container, preferred)
    endpoint = Endpoint(
        id=new_id(),
        container=container,
        network=network.id,
        interface=interface,
        mac=config.mac or _mac(ipv4) if has_addresses else "",
        ipv4=ipv4 if isinstance(ipv4, IPv4Interface) else None,
        ipv6=ipv6 if isinstance(ipv6, IPv6Interface) else None,
        gateway4=_gateway(network, ipv4),
        gateway6=_gateway(network, ipv6),
        dns_names=tuple(dns_names),
    )
    records.save_endpoint(endpoint)
    return endpoint


def check_addresses(network: Network, config: EndpointConfig) -> None:
    """Whether the addresses asked for can be given in this network at all."""
    for text, version in ((config.ipv4, 4), (config.ipv6, 6)):
        if not text:
            continue
        if not network.is_user_defined:
            raise InvalidParameter(
                "invalid endpoint settings:\nuser specified IP address is supported on user"
                " defined networks only"
            )
        mine = [pool for pool in network.pools if pool.subnet.version == version]
        if not any(pool.subnet_requested for pool in mine):
            raise InvalidParameter(
                "invalid endpoint settings:\nuser specified IP address is supported only when"
                " connecting to networks with user configured subnets"
            )
        if not any(ip_address(text) in pool.subnet for pool in mine):
            raise InvalidParameter(
                "invalid endpoint settings:\nno configured subnet or ip-range contain the"
                f" IP address {text}"
            )


def _give(
    records: Records,
    network: Network,
    version: int,
    wanted: str,
    container: str,
    preferred: Sequence[Address],
) -> Interface:
    pools = [pool for pool in network.pools if pool.subnet.version == version]
    if wanted:
        address = ip_address(wanted)
        if not records.take_address(network.id, address, container):
            raise Forbidden("Address already in use")
        return _with_prefix(address, pools)
    taken = records.addresses(network.id)
    for address in preferred:
        if address not in taken and any(_givable(address, pool) for pool in pools):
            records.take_address(network.id, address, container)
            return _with_prefix(address, pools)
    for pool in pools:
        free = ipam.free_address(pool, [address for address in taken if address in pool.subnet])
        if free is not None:
            records.take_address(network.id, free, container)
            return _with_prefix(free, pools)
    raise Conflict(
        f"no available IPv{version} addresses on this network's address pools:"
        f" {network.name} ({network.id})"
    )


def _givable(address: Address, pool: Pool) -> bool:
    return address in (pool.range or pool.subnet) and address not in pool.reserved()


def _with_prefix(address: Address, pools: Sequence[Pool]) -> Interface:
    pool = next(pool for pool in pools if address in pool.subnet)
    return ip_interface(f"{address}/{pool.subnet.prefixlen}")


def _gateway(network: Network, interface: Interface | None) -> Address | None:
    if interface is None or network.internal:
        return None
    return next(
        (pool.router for pool in network.pools if interface.ip in pool.subnet and pool.router),
        None,
    )


def _mac(ipv4: Interface | None) -> str:
    """A MAC that follows from the address, so that neighbours' caches stay right."""
    low = ipv4.ip.packed if ipv4 else secrets.token_bytes(4)
    return "02:42:" + low.hex(":")


def give_ports(
    records: Records,
    config: SandboxConfig,
    default_address: Address | None,
    *,
    ipv6: bool,
    endpoint: Endpoint,
    reserve: Callable[[Sequence[PublishedPort]], None],
) -> list[PublishedPort]:
    """Find a place on the host for every port that the container publishes; write it down."""
    wanted = ports.wanted_bindings(config)
    if not wanted:
        return []
    taken = ports.Taken(
        (port.protocol, port.host_address, port.host_port) for _, port in records.ports()
    )
    ephemeral = ports.ephemeral_range()
    given: list[PublishedPort] = []
    for binding in wanted:
        addresses = ports.host_addresses(binding.host_address, default_address, ipv6=ipv6)
        start = ephemeral[0] + secrets.randbelow(max(1, ephemeral[1] - ephemeral[0]))
        try:
            places = ports.place(binding, addresses, taken, ephemeral, start, reserve)
        except WherryError as error:
            raise WherryError(
                "driver failed programming external connectivity on endpoint"
                f" {config.name} ({endpoint.id}): {error}"
            ) from None
        given += places
        for port in places:
            taken.add(port.protocol, port.host_address, port.host_port)
    records.save_ports(config.container, given)
    return given
