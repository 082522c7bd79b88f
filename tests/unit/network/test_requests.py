"""API bodies to typed requests."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from wherry.errors import InvalidParameter
from wherry.network import ports, requests
from wherry.network.model import (
    PortBinding,
    network_from_json,
    network_json,
    sandbox_from_json,
    sandbox_json,
)
from wherry.network.requests import network_request, port_bindings, sandbox_config

ID = "c" * 64


def test_port_bindings_in_every_form() -> None:
    found = port_bindings(
        {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}, {"HostIp": "::1"}],
            "9/sctp": None,
            "81": [{"HostPort": "8000-8010"}],
        }
    )
    assert found == (
        PortBinding("tcp", 80, None, 8080, 8080),
        PortBinding("udp", 53, ip_address("127.0.0.1"), 53, 53),
        PortBinding("udp", 53, ip_address("::1"), 0, 0),
        PortBinding("sctp", 9, None, 0, 0),
        PortBinding("tcp", 81, None, 8000, 8010),
    )


@pytest.mark.parametrize(
    "body",
    [
        {"0/tcp": []},
        {"65536/tcp": []},
        {"80/icmp": []},
        {"²/tcp": []},
        {"80/tcp": [{"HostPort": "x"}]},
        {"80/tcp": [{"HostPort": "9-8"}]},
        {"80/tcp": [{"HostPort": "70000"}]},
        {"80/tcp": [{"HostIp": "host"}]},
    ],
)
def test_bad_port_bindings_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        port_bindings(body)


@pytest.mark.parametrize(
    ("mode", "kind", "networks"),
    [
        ("", "private", ["bridge"]),
        ("default", "private", ["bridge"]),
        ("bridge", "private", ["bridge"]),
        ("mine", "private", ["mine"]),
        ("host", "host", ["host"]),
        ("none", "none", ["none"]),
        ("container:" + ID, "container", []),
    ],
)
def test_network_modes(mode: str, kind: str, networks: list[str]) -> None:
    config = sandbox_config(ID, "c", {}, {"NetworkMode": mode}, None)
    assert config.mode == kind
    assert [endpoint.network for endpoint in config.endpoints] == networks


def test_endpoints_of_the_mode_come_first() -> None:
    endpoints = {
        "other": {},
        "mine": {"Aliases": ["a", "a"], "IPAMConfig": {"IPv4Address": "1.2.3.4"}},
    }
    config = sandbox_config(
        ID,
        "c",
        {"MacAddress": "2:42-AC:11:0:2"},
        {"NetworkMode": "mine"},
        {"EndpointsConfig": endpoints},
    )
    assert [endpoint.network for endpoint in config.endpoints] == ["mine", "other"]
    assert config.endpoints[0].aliases == ("a",)
    assert config.endpoints[0].ipv4 == "1.2.3.4"
    assert config.endpoints[0].mac == "02:42:ac:11:00:02"


@pytest.mark.parametrize(
    ("config", "host", "message"),
    [
        ({}, {"Dns": ["x"]}, "bad DNS server"),
        ({}, {"ExtraHosts": ["x"]}, "bad format for add-host"),
        ({"MacAddress": "x"}, {}, "invalid MAC address"),
        ({}, {"NetworkMode": "container:x", "PortBindings": {"80/tcp": []}}, "port publishing"),
    ],
)
def test_bad_sandboxes_are_refused(
    config: dict[str, Any], host: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidParameter, match=message):
        sandbox_config(ID, "c", config, host, None)


def test_sandboxes_survive_the_store() -> None:
    config = sandbox_config(
        ID,
        "c",
        {"Hostname": "h", "Domainname": "d", "ExposedPorts": {"80/tcp": {}}},
        {
            "NetworkMode": "mine",
            "PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "1-2"}]},
            "PublishAllPorts": True,
            "Links": ["db:x"],
            "Dns": ["1.1.1.1"],
        },
        {
            "EndpointsConfig": {
                "mine": {"Aliases": ["a"], "DriverOpts": {"k": "v"}, "GwPriority": 3}
            }
        },
    )
    assert sandbox_from_json(ID, sandbox_json(config)) == config


def test_network_bodies() -> None:
    request = network_request(
        {
            "Name": "n",
            "EnableIPv6": True,
            "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}, {"Subnet": "fd00::/64"}]},
            "Options": {"com.docker.network.driver.mtu": 1400},
        }
    )
    assert (request.driver, request.ipv4, request.ipv6) == ("bridge", True, True)
    assert [str(pool.subnet) for pool in request.pools] == ["10.0.0.0/24", "fd00::/64"]
    assert request.options == {"com.docker.network.driver.mtu": "1400"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Name": ""},
        {"Name": "-x"},
        {"Name": "a b"},
        {"Name": "n", "EnableIPv4": False},
        {"Name": "n", "IPAM": {"Config": [{"Gateway": "10.0.0.1"}]}},
        {"Name": "n", "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}, {"Subnet": "10.0.0.0/25"}]}},
    ],
)
def test_bad_network_bodies_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        network_request(body)


def test_networks_survive_the_store() -> None:
    from wherry.network.ipam import parse_pool
    from wherry.network.model import Network

    pool = parse_pool(
        {"Subnet": "10.0.0.0/24", "IPRange": "10.0.0.0/25", "AuxiliaryAddresses": {"a": "10.0.0.9"}}
    )
    network = Network("i", "n", "bridge", "now", (pool,), labels={"a": "b"}, internal=True)
    assert network_from_json("i", "n", network_json(network)) == network


def test_publish_all_leaves_bound_ports_alone() -> None:
    config = sandbox_config(
        ID,
        "c",
        {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}},
        {"PublishAllPorts": True, "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}},
        None,
    )
    wanted = [(binding.port, binding.host_port) for binding in ports.wanted_bindings(config)]
    assert wanted == [(80, 8080), (53, 0)]


def test_endpoint_problems_are_told_together() -> None:
    body = {"IPAMConfig": {"IPv4Address": "x", "IPv6Address": "1.2.3.4"}, "MacAddress": "y"}
    with pytest.raises(InvalidParameter) as caught:
        requests.endpoint_config("n", body)
    assert str(caught.value) == (
        "invalid endpoint settings:\ninvalid IPv4 address: x\ninvalid IPv6 address: 1.2.3.4\n"
        "invalid MAC address: y"
    )
