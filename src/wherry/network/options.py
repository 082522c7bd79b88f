"""Settings of the network room, under the names of dockerd's flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from wherry.network.ipam import DEFAULT_POOLS, AddressPool

# (action, network id, attributes) -> None; actions: create, connect, disconnect, destroy.
EventSink: TypeAlias = Callable[[str, str, Mapping[str, str]], None]


def _no_event(action: str, network: str, attributes: Mapping[str, str]) -> None:
    pass


def _no_environment(container: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How an engine's networks behave.

    ``containers_directory`` holds a folder per container with its hosts file, rewritten when a
    running container joins or leaves a network; ``runtime_directory`` holds the relay's socket.
    ``firewall_versions`` are the IP versions that get firewall rules; without rules a published
    port is served by the relay, on every address, and nothing is closed.
    """

    containers_directory: str
    runtime_directory: str
    bridge: str = ""
    bip: str = ""
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_gateway: str = ""
    default_gateway_v6: str = ""
    mtu: int = 1500
    icc: bool = True
    ip_masq: bool = True
    ip_forward: bool = True
    ip: str = "0.0.0.0"
    ipv6: bool = False
    default_address_pools: tuple[AddressPool, ...] = DEFAULT_POOLS
    firewall_versions: tuple[int, ...] = (4, 6)
    default_network_options: Mapping[str, Mapping[str, str]] | None = None
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    host_gateway_ips: tuple[str, ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    on_event: EventSink = _no_event
    environment_of: Callable[[str], Sequence[str]] = _no_environment


def address_pools(values: Sequence[Mapping[str, Any]]) -> tuple[AddressPool, ...]:
    """``default-address-pools`` of the configuration file: base and size."""
    from ipaddress import ip_network

    return tuple(AddressPool(ip_network(value["Base"]), int(value["Size"])) for value in values)
