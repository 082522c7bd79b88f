"""The bridge driver's options: what they mean for the firewall, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from wherry.errors import Forbidden, InvalidParameter, WherryError
from wherry.network.drivers.bridge import BridgeDriver
from wherry.network.ipam import Pool
from wherry.network.model import Network

_BRIDGE = "com.docker.network.bridge."


def network(**options: str) -> Network:
    return Network("1" * 64, "net", "bridge", "", options=options)


def test_options_for_the_firewall() -> None:
    fence = BridgeDriver().fence(
        network(
            **{
                _BRIDGE + "trusted_host_interfaces": "eth0:vxlan.1",
                _BRIDGE + "gateway_mode_ipv6": "routed",
                "com.docker.network.host_ipv4": "192.0.2.2",
            }
        )
    )
    assert fence is not None
    assert fence.trusted == {"eth0", "vxlan.1"}
    assert (fence.mode4, fence.mode6) == ("nat", "routed")
    assert (fence.source4, fence.source6) == (ip_address("192.0.2.2"), None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            _BRIDGE + "enable_icc",
            "maybe",
            f"failed to parse {_BRIDGE}enable_icc value: maybe"
            ' (strconv.ParseBool: parsing "maybe": invalid syntax)',
        ),
        (
            "com.docker.network.driver.mtu",
            "abc",
            "failed to parse com.docker.network.driver.mtu value: abc"
            ' (strconv.Atoi: parsing "abc": invalid syntax)',
        ),
        ("com.docker.network.driver.mtu", "12", "not between 68 and 65535"),
        ("com.docker.network.host_ipv4", "fd00::1", "no IPv4 address"),
        ("com.docker.network.host_ipv6", "x", "no IPv6 address"),
        (_BRIDGE + "trusted_host_interfaces", "eth0:a b", "a b: no interface name"),
        (_BRIDGE + "gateway_mode_ipv4", "fast", "unknown gateway mode fast"),
        (_BRIDGE + "gateway_mode_ipv4", "isolated", "only be used for an internal network"),
    ],
)
def test_values_that_cannot_be(key: str, value: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as failure:
        BridgeDriver().check(network(**{key: value}))
    assert message in str(failure.value)


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        (
            {"pools": tuple(Pool(ip_network(f"10.{n}.0.0/24"), None) for n in (1, 2))},
            Forbidden,
            "bridge driver doesn't support multiple subnets",
        ),
        ({"ipam_driver": "null"}, InvalidParameter, "ipv4 pool is empty"),
    ],
)
def test_networks_that_cannot_be(
    changed: dict[str, object], kind: type[WherryError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        BridgeDriver().check(replace(network(), **changed))  # type: ignore[arg-type]


def test_a_subnet_of_each_version_may_be() -> None:
    pools = (Pool(ip_network("10.1.0.0/24"), None), Pool(ip_network("fd00::/64"), None))
    BridgeDriver().check(replace(network(), pools=pools))
