"""The bridge driver: a Linux bridge per network, a veth pair per endpoint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from wherry.errors import Conflict, Forbidden, InvalidParameter
from wherry.network import netlink
from wherry.network.firewall import Fence, GatewayMode
from wherry.network.kernel import Kernel, write_sysctl
from wherry.network.model import Address, Endpoint, Network
from wherry.numbers import whole_number

_BRIDGE = "com.docker.network.bridge."
NAME = _BRIDGE + "name"
ICC = _BRIDGE + "enable_icc"
MASQUERADE = _BRIDGE + "enable_ip_masquerade"
HOST_BINDING = _BRIDGE + "host_binding_ipv4"
HOST_BINDING_NEW = _BRIDGE + "host_binding_ip"
MODE4, MODE6 = _BRIDGE + "gateway_mode_ipv4", _BRIDGE + "gateway_mode_ipv6"
INHIBIT4 = _BRIDGE + "inhibit_ipv4"
TRUSTED = _BRIDGE + "trusted_host_interfaces"
SOURCE4, SOURCE6 = "com.docker.network.host_ipv4", "com.docker.network.host_ipv6"
MTU = "com.docker.network.driver.mtu"

_INTERFACE_NAME = re.compile(r"[^/\s\x00:%\"]{1,15}")
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_MODES: Mapping[str, GatewayMode] = {
    "": "nat",
    "nat": "nat",
    "nat-unprotected": "nat-unprotected",
    "routed": "routed",
    "isolated": "isolated",
}


def flag(options: Mapping[str, str], key: str, default: bool) -> bool:
    """A boolean driver option, in any of Go's spellings."""
    text = options.get(key, "")
    if not text:
        return default
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidParameter(
        f'failed to parse {key} value: {text} (strconv.ParseBool: parsing "{text}": invalid syntax)'
    )


def mtu(options: Mapping[str, str]) -> int:
    """The MTU option, or Ethernet's 1500."""
    text = options.get(MTU, "")
    if not text:
        return 1500
    number = whole_number(text)
    if number is None:
        raise InvalidParameter(
            f'failed to parse {MTU} value: {text} (strconv.Atoi: parsing "{text}": invalid syntax)'
        )
    if not 68 <= number <= 65535:
        raise InvalidParameter(f"failed to parse {MTU} value: {text}: not between 68 and 65535")
    return number


def source_address(options: Mapping[str, str], key: str, version: int) -> Address | None:
    """The host's address that packets to the outside carry, when one was chosen."""
    text = options.get(key, "")
    try:
        address = ip_address(text) if text else None
    except ValueError:
        address = None
    if text and (address is None or address.version != version):
        raise InvalidParameter(f"failed to parse {key} value: {text}: no IPv{version} address")
    return address


def trusted_interfaces(options: Mapping[str, str]) -> frozenset[str]:
    """Interfaces of the host whose neighbours may reach containers directly."""
    names = frozenset(filter(None, options.get(TRUSTED, "").split(":")))
    for name in names:
        if not _INTERFACE_NAME.fullmatch(name):
            raise InvalidParameter(f"failed to parse {TRUSTED} value: {name}: no interface name")
    return names


def gateway_mode(options: Mapping[str, str], key: str) -> GatewayMode:
    """How the host guards the network: nat, nat-unprotected, routed or isolated."""
    mode = _MODES.get(options.get(key, ""))
    if mode is None:
        raise InvalidParameter(
            f'invalid value for option "{key}": unknown gateway mode {options[key]}'
        )
    return mode


def bridge_mac(network_id: str) -> str:
    """The bridge's own address: fixed, so that it does not change with its ports.

    It also tells a bridge that the engine made from one that was there before.
    """
    return "02:42:" + hashlib.sha256(network_id.encode()).digest()[:4].hex(":")


class BridgeDriver:
    """Networks on this host, reachable from outside through published ports."""

    name = "bridge"
    has_addresses = True
    owns_gateway = True

    def check(self, network: Network) -> Network:
        options = network.options
        name = options.get(NAME, "") or f"br-{network.id[:12]}"
        if not _INTERFACE_NAME.fullmatch(name) or name in (".", "..", "lo", "all", "default"):
            raise InvalidParameter(
                f"invalid bridge name {name!r}: at most 15 characters, no slash or space"
            )
        if not network.has_ipam:
            raise InvalidParameter("ipv4 pool is empty")
        for version in (4, 6):
            if sum(pool.subnet.version == version for pool in network.pools) > 1:
                raise Forbidden("bridge driver doesn't support multiple subnets")
        mtu(options)
        trusted_interfaces(options)
        source_address(options, SOURCE4, 4)
        source_address(options, SOURCE6, 6)
        for key in (ICC, MASQUERADE, INHIBIT4):
            flag(options, key, True)
        for key in (MODE4, MODE6):
            if gateway_mode(options, key) == "isolated" and not network.internal:
                raise InvalidParameter(
                    "gateway mode 'isolated' can only be used for an internal network"
                )
        return replace(network, options={**options})

    def interface(self, network: Network) -> str:
        return network.options.get(NAME) or f"br-{network.id[:12]}"

    def ensure(self, network: Network, kernel: Kernel) -> None:
        name = self.interface(network)
        link = kernel.link(name)
        if link is None:
            kernel.run(
                netlink.add_bridge(name, bridge_mac(network.id), mtu(network.options)),
                netlink.set_alias(name, kernel.alias),
            )
            link = kernel.link(name)
        if link is None or link.kind != "bridge":
            raise Conflict(
                f"set up network {network.name}: interface {name} exists and is no bridge"
            )
        if link.mac != bridge_mac(network.id) and not network.options.get(NAME):
            raise Conflict(f"set up network {network.name}: bridge {name} belongs to somebody else")
        # A container must not be able to teach the host routes (router advertisements).
        write_sysctl(f"ipv6/conf/{name}/accept_ra", "0", missing_ok=True)
        # IPAM gives nothing twice: without duplicate detection IPv6 works at once.
        write_sysctl(f"ipv6/conf/{name}/accept_dad", "0", missing_ok=True)
        write_sysctl(
            f"ipv6/conf/{name}/disable_ipv6", "0" if network.ipv6 else "1", missing_ok=True
        )
        if not flag(network.options, ICC, True):
            # Its isolated ports do not hear each other's ARP. The host answers, so that what a
            # link opens is routed through the firewall (RFC 3069).
            write_sysctl(f"ipv4/conf/{name}/proxy_arp_pvlan", "1", missing_ok=True)
            write_sysctl(f"ipv4/conf/{name}/send_redirects", "0", missing_ok=True)
        requests = [netlink.set_link(link.index, name, up=True)]
        for version, key in ((4, MODE4), (6, MODE6)):
            gateway = network.gateway(version)
            inhibited = version == 4 and flag(network.options, INHIBIT4, False)
            if gateway and not inhibited and gateway_mode(network.options, key) != "isolated":
                requests.append(netlink.add_address(link.index, gateway, name))
        kernel.run(*requests)

    def destroy(self, network: Network, kernel: Kernel) -> None:
        name = self.interface(network)
        link = kernel.link(name)
        if link is not None and link.mac == bridge_mac(network.id):
            kernel.run(netlink.delete_link(name))

    def plug(self, network: Network, endpoint: Endpoint, namespace_fd: int, kernel: Kernel) -> None:
        bridge = kernel.link(self.interface(network))
        if bridge is None:
            self.ensure(network, kernel)
        index = bridge.index if bridge else kernel.link_index(self.interface(network))
        name = self._veth(endpoint, kernel)
        kernel.run(
            netlink.add_veth(
                name, index, endpoint.interface, endpoint.mac, namespace_fd, mtu(network.options)
            ),
            # With br_netfilter a container that uses its own published port comes back to its
            # own bridge port.
            netlink.set_bridge_port(
                name, hairpin=True, isolated=not flag(network.options, ICC, True)
            ),
        )

    def unplug(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> None:
        kernel.run(netlink.delete_link(self._veth(endpoint, kernel)))

    def withdraw(
        self, network: Network, endpoint: Endpoint, namespace: int, kernel: Kernel
    ) -> None:
        # Taking it off the bridge costs a tenth of a millisecond, deleting it a hundred times that.
        # It goes down first: off the bridge the host would listen to it.
        name = self._veth(endpoint, kernel)
        kernel.run(netlink.set_down(name), netlink.leave_bridge(name))

    def is_plugged(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> bool:
        veth = kernel.link(self._veth(endpoint, kernel))
        bridge = kernel.link(self.interface(network))
        return veth is not None and bridge is not None and veth.master == bridge.index

    def fence(self, network: Network) -> Fence | None:
        options = network.options
        return Fence(
            interface=self.interface(network),
            masquerade=flag(options, MASQUERADE, True),
            internal=network.internal,
            icc=flag(options, ICC, True),
            subnets=tuple(pool.subnet for pool in network.pools),
            mode4=gateway_mode(options, MODE4),
            mode6=gateway_mode(options, MODE6),
            source4=source_address(options, SOURCE4, 4),
            source6=source_address(options, SOURCE6, 6),
            trusted=trusted_interfaces(options),
        )

    @staticmethod
    def _veth(endpoint: Endpoint, kernel: Kernel) -> str:
        return kernel.instance.veth(endpoint.id[:7])
