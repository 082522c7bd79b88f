"""Published ports: which place on the host each one gets. Pure.

A conflict has Docker's words; the listening sockets that hold the place are the relay's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from wherry.errors import WherryError
from wherry.network.model import Address, PortBinding, PublishedPort, SandboxConfig

_EPHEMERAL_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"
_ANY4, _ANY6 = IPv4Address(0), IPv6Address(0)


def ephemeral_range() -> tuple[int, int]:
    """The host's range of ports that nobody chose (ip(7), ip_local_port_range)."""
    low, high = Path(_EPHEMERAL_RANGE).read_text().split()
    return int(low), int(high)


def wanted_bindings(config: SandboxConfig) -> list[PortBinding]:
    """What a container wants published: its bindings, and all exposed ports with ``-P``."""
    wanted = list(config.bindings)
    if config.publish_all:
        bound = {(binding.port, binding.protocol) for binding in wanted}
        wanted += [
            PortBinding(protocol, port, None, 0, 0)
            for port, protocol in sorted(config.exposed)
            if (port, protocol) not in bound
        ]
    return wanted


def host_addresses(wanted: Address | None, default: Address | None, *, ipv6: bool) -> list[Address]:
    """The addresses a binding listens on; nothing chosen means every address of the host."""
    chosen = wanted or default
    if chosen is not None and not (chosen.is_unspecified and wanted is None):
        return [chosen]
    return [_ANY4, _ANY6] if ipv6 else [_ANY4]


class Taken:
    """Places on the host that somebody has: (protocol, address, port)."""

    def __init__(self, places: Iterable[tuple[str, Address, int]] = ()) -> None:
        self._places: set[tuple[str, Address, int]] = set()
        self._numbers: set[tuple[str, int, int]] = set()
        for protocol, address, number in places:
            self.add(protocol, address, number)

    def add(self, protocol: str, address: Address, number: int) -> None:
        """Somebody has this place from now on."""
        self._places.add((protocol, address, number))
        self._numbers.add((protocol, address.version, number))

    def blocks(self, protocol: str, address: Address, number: int) -> bool:
        """Whether somebody has it, or all addresses, or (for all addresses) any of them."""
        if address.is_unspecified:
            return (protocol, address.version, number) in self._numbers
        any_address = _ANY4 if address.version == 4 else _ANY6
        return (protocol, address, number) in self._places or (
            (protocol, any_address, number) in self._places
        )


def place(
    binding: PortBinding,
    addresses: Iterable[Address],
    taken: Taken,
    ephemeral: tuple[int, int],
    start: int,
    reserve: Callable[[Sequence[PublishedPort]], None],
) -> list[PublishedPort]:
    """Find one host port that is free on all ``addresses``, and reserve it there.

    ``start`` is where the search in the ephemeral
    range begins; ``reserve`` raises OSError when a program on the host has the place. Raises
    WherryError in Docker's words when there is none.
    """
    addresses = list(addresses)
    for number in _candidates(binding, ephemeral, start):
        if any(taken.blocks(binding.protocol, address, number) for address in addresses):
            continue
        places = [
            PublishedPort(binding.protocol, binding.port, address, number) for address in addresses
        ]
        try:
            reserve(places)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and binding.host_port != binding.host_port_end:
                continue
            if error.errno == errno.EADDRINUSE and not binding.host_port:
                continue
            reason = os.strerror(error.errno or 0).lower()
            raise WherryError(
                f"failed to bind host port for {bracketed(addresses[0])}:{number}"
                f"/{binding.protocol}: {reason}"
            ) from error
        return places
    where = bracketed(addresses[0])
    if binding.host_port and binding.host_port == binding.host_port_end:
        raise WherryError(f"Bind for {where}:{binding.host_port} failed: port is already allocated")
    if binding.host_port:
        raise WherryError(
            f"Bind for {where}:{binding.host_port}-{binding.host_port_end} failed:"
            " all ports are allocated"
        )
    raise WherryError(f"Bind for {where} failed: all ports are allocated")


def _candidates(binding: PortBinding, ephemeral: tuple[int, int], start: int) -> Iterator[int]:
    if binding.host_port:
        yield from range(binding.host_port, binding.host_port_end + 1)
        return
    low, high = ephemeral
    start = min(max(start, low), high)
    yield from range(start, high + 1)
    yield from range(low, start)


def bracketed(address: Address) -> str:
    """An address as it is written before a colon and a port."""
    return f"[{address}]" if address.version == 6 else str(address)


def has_ipv6() -> bool:
    """Whether the host speaks IPv6 at all."""
    return Path("/proc/net/if_inet6").exists()


def parse_address(text: str) -> Address | None:
    """An address, or None for an empty text."""
    return ip_address(text) if text else None
