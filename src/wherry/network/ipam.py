"""Address management: which subnet a network gets and which address an endpoint gets.

Pure functions on addresses; ``records`` keeps what was given in the store, so that nothing is
given twice even when the daemon dies in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, TypeAlias

from wherry.errors import Conflict, InvalidParameter

Address: TypeAlias = IPv4Address | IPv6Address
Subnet: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class AddressPool:
    """A range that is cut into networks of prefix length ``size`` (``--default-address-pool``)."""

    base: Subnet
    size: int


DEFAULT_POOLS: tuple[AddressPool, ...] = (
    *(AddressPool(IPv4Network(f"172.{second}.0.0/16"), 16) for second in range(17, 32)),
    AddressPool(IPv4Network("192.168.0.0/16"), 20),
)


# Auxiliary addresses of these names are routers beside the bridge (``--default-gateway``).
ROUTER_NAMES = {4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6"}


@dataclass(frozen=True, slots=True)
class Pool:
    """One subnet of a network: what may be given in it and what is spoken for."""

    subnet: Subnet
    gateway: Address | None
    range: Subnet | None = None
    auxiliary: tuple[tuple[str, Address], ...] = ()
    gateway_requested: bool = True
    subnet_requested: bool = True

    @property
    def router(self) -> Address | None:
        """Where endpoints send what is not for the subnet: the gateway unless told otherwise."""
        chosen = dict(self.auxiliary).get(ROUTER_NAMES[self.subnet.version])
        return chosen or self.gateway

    def reserved(self) -> set[Address]:
        """Addresses that no endpoint gets without asking: gateway and auxiliary ones."""
        return {address for _, address in self.auxiliary} | (
            {self.gateway} if self.gateway else set()
        )

    def view(self) -> dict[str, Any]:
        """An entry of ``IPAM.Config`` in Docker's form."""
        view: dict[str, Any] = {"Subnet": str(self.subnet)}
        if self.range:
            view["IPRange"] = str(self.range)
        if self.gateway:
            view["Gateway"] = str(self.gateway)
        if self.auxiliary:
            view["AuxiliaryAddresses"] = {name: str(address) for name, address in self.auxiliary}
        return view


def free_subnet(pools: Sequence[AddressPool], version: int, taken: Collection[Subnet]) -> Subnet:
    """The first network of ``pools`` that overlaps nothing in ``taken``.

    ``taken`` holds the subnets of other networks and the host's routes. Raises Conflict when
    none is left.
    """
    busy = sorted(
        _span(network) for network in taken if network.version == version and network.prefixlen
    )
    for pool in pools:
        if pool.base.version == version:
            subnet = _first_free(pool, busy)
            if subnet is not None:
                return subnet
    kind = "IPv4" if version == 4 else "IPv6"
    raise Conflict(f"all predefined address pools have been fully subnetted ({kind})")


def _first_free(pool: AddressPool, busy: Sequence[tuple[int, int]]) -> Subnet | None:
    """The lowest network of a pool between spans that are sorted; looks at each span once."""
    length = max(pool.size, pool.base.prefixlen)
    size = 1 << (pool.base.max_prefixlen - length)
    low, high = _span(pool.base)
    candidate = low
    for first, last in busy:
        if first >= candidate + size:
            break
        if last >= candidate:
            candidate = low + ((last - low) // size + 1) * size
    if candidate > high:
        return None
    if isinstance(pool.base, IPv4Network):
        return IPv4Network((candidate, length))
    return IPv6Network((candidate, length))


def _span(network: Subnet) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def unique_local_pool(seed: bytes) -> AddressPool:
    """An IPv6 pool of one's own: fd00::/8 and 40 bits of ``seed`` (RFC 4193), cut into /64."""
    prefix = bytes([0xFD]) + seed[:5] + bytes(10)
    return AddressPool(IPv6Network((prefix, 48)), 64)


def overlapping(subnet: Subnet, others: Iterable[Subnet]) -> Subnet | None:
    """The first of ``others`` that shares addresses with ``subnet``."""
    return next((other for other in others if _overlap(subnet, other)), None)


def free_address(pool: Pool, taken: Collection[Address]) -> Address | None:
    """The lowest address of the pool's range that is neither reserved nor in ``taken``.

    The subnet's first address (network, or IPv6 subnet-router anycast) and an IPv4 subnet's last
    (broadcast) are never given. None when the range is full.
    """
    area = pool.range or pool.subnet
    low, high = int(area.network_address), int(area.broadcast_address)
    if pool.subnet.num_addresses > 2:
        low = max(low, int(pool.subnet.network_address) + 1)
        if pool.subnet.version == 4:
            high = min(high, int(pool.subnet.broadcast_address) - 1)
    busy = {int(address) for address in taken} | {int(address) for address in pool.reserved()}
    candidate = low
    while candidate in busy:
        candidate += 1
    if candidate > high:
        return None
    return IPv4Address(candidate) if pool.subnet.version == 4 else IPv6Address(candidate)


def default_gateway(
    subnet: Subnet, taken: Collection[Address] = (), range_: Subnet | None = None
) -> Address:
    """The address that the bridge itself gets when nobody chose one: the lowest free."""
    address = free_address(Pool(subnet, None, range_), taken)
    if address is None:
        raise InvalidParameter(f"failed to allocate gateway for {subnet}: no available addresses")
    return address


def parse_pool(config: dict[str, Any]) -> Pool:
    """An entry of ``IPAM.Config`` with a subnet; raises InvalidParameter in Docker's words."""
    text = config.get("Subnet") or ""
    try:
        subnet = ip_network(text)
    except ValueError:
        try:
            ip_network(text, strict=False)
        except ValueError:
            raise InvalidParameter(f"invalid subnet {text}: invalid CIDR address: {text}") from None
        masked = ip_network(text, strict=False)
        raise InvalidParameter(
            f"invalid network config:\ninvalid subnet {text}: it should be {masked}"
        ) from None
    range_ = _parse_range(config.get("IPRange") or "", subnet)
    gateway_text = config.get("Gateway") or ""
    auxiliary = tuple(
        (str(name), _inside(str(value), subnet, "auxiliary address"))
        for name, value in sorted((config.get("AuxiliaryAddresses") or {}).items())
    )
    gateway = _inside(gateway_text, subnet, "gateway") if gateway_text else None
    return with_gateway(Pool(subnet, gateway, range_, auxiliary, gateway is not None))


def with_gateway(pool: Pool) -> Pool:
    """The pool with a gateway: the lowest free address unless one was chosen."""
    if pool.gateway is not None:
        return pool
    taken = [address for _, address in pool.auxiliary]
    return replace(pool, gateway=default_gateway(pool.subnet, taken, pool.range))


def _parse_range(text: str, subnet: Subnet) -> Subnet | None:
    if not text:
        return None
    try:
        range_ = ip_network(text, strict=False)
    except ValueError:
        raise InvalidParameter(
            f"invalid network config:\ninvalid ip-range {text}: invalid CIDR block notation"
        ) from None
    if range_.version != subnet.version or not _contains(subnet, range_):
        raise InvalidParameter(
            f"invalid network config:\ninvalid ip-range {text}:"
            f" it should be inside the parent subnet {subnet}"
        )
    return range_


def _inside(text: str, subnet: Subnet, what: str) -> Address:
    try:
        address = ip_address(text.partition("/")[0])
    except ValueError:
        raise InvalidParameter(f"invalid network config:\ninvalid {what} {text}") from None
    if address not in subnet:
        raise InvalidParameter(
            f"invalid network config:\ninvalid {what} {text}:"
            f" parent subnet {subnet} doesn't contain this address"
        )
    return address


def _overlap(one: Subnet, other: Subnet) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def _contains(outer: Subnet, inner: Subnet) -> bool:
    return inner.network_address in outer and inner.broadcast_address in outer
