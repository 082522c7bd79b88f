"""Options of networks and endpoints, seen from inside and from the segment."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.netlab import Containers, Namespaces, Segment, ask, inside

from wherry.errors import Forbidden, InvalidParameter, NotFound, WherryError
from wherry.network import records
from wherry.network.networks import Networks

_BRIDGE = "com.docker.network.bridge."


async def test_addresses_of_an_endpoint(networks: Networks, containers: Containers) -> None:
    await networks.create(
        {
            "Name": "net",
            "EnableIPv6": True,
            "Options": {"com.docker.network.container_iface_prefix": "lan"},
        }
    )
    wanted = {"IPAMConfig": {"LinkLocalIPs": ["169.254.8.9", "fe80::8:9"]}}
    _, pid = await containers.run(NetworkMode="net", endpoints={"net": wanted})
    shown = inside(pid, "ip", "-o", "address", "show", "lan0")
    assert "172.18.0.2/16 brd 172.18.255.255" in shown
    assert "169.254.8.9/16" in shown
    assert "fe80::8:9/64" in shown


async def test_the_gateway_address_may_stay_away(
    networks: Networks, containers: Containers, segment: Segment
) -> None:
    options = {_BRIDGE + "inhibit_ipv4": "true", _BRIDGE + "name": "quiet"}
    await networks.create({"Name": "net", "Options": options})
    assert "inet " not in inside(segment.host, "ip", "address", "show", "quiet")
    _, pid = await containers.run(NetworkMode="net")
    assert "default via 172.18.0.1" in inside(pid, "ip", "route")


async def test_packets_leave_with_the_chosen_address(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    inside(segment.host, "ip", "address", "add", "192.0.2.77/24", "dev", "lan0")
    options = {"com.docker.network.host_ipv4": "192.0.2.77"}
    await networks.create({"Name": "net", "Options": options})
    _, pid = await containers.run(NetworkMode="net")
    namespaces.serve(segment.neighbour, "udp", "0.0.0.0", 53)
    assert ask(pid, "udp", "192.0.2.9", 53) == "hi 192.0.2.77"


async def test_neighbours_on_a_trusted_interface_reach_containers(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    options = {_BRIDGE + "trusted_host_interfaces": "lan0"}
    await networks.create({"Name": "net", "Options": options})
    inside(segment.neighbour, "ip", "route", "add", "172.16.0.0/12", "via", "192.0.2.2")
    trusting, pid = await containers.run(NetworkMode="net")
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    assert ask(segment.neighbour, "tcp", containers.address(trusting, "net"), 80).startswith("hi")
    other, pid = await containers.run()
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    assert ask(segment.neighbour, "tcp", containers.address(other), 80, 0.3).startswith("error")


async def test_a_configuration_makes_networks(networks: Networks, containers: Containers) -> None:
    await networks.create(
        {
            "Name": "template",
            "ConfigOnly": True,
            "Internal": True,
            "IPAM": {"Config": [{"Subnet": "10.7.0.0/24"}]},
            "Options": {"com.docker.network.driver.mtu": "1400"},
        }
    )
    view = networks.inspect("template")
    assert (view["Driver"], view["ConfigOnly"]) == ("null", True)
    assert view["IPAM"]["Config"] == [{"Subnet": "10.7.0.0/24"}]
    await networks.create({"Name": "net", "ConfigFrom": {"Network": "template"}})
    view = networks.inspect("net")
    assert (view["Driver"], view["ConfigFrom"]) == ("bridge", {"Network": "template"})
    assert view["IPAM"]["Config"] == [{"Subnet": "10.7.0.0/24", "Gateway": "10.7.0.1"}]
    assert view["Internal"]
    _, pid = await containers.run(NetworkMode="net")
    assert "mtu 1400" in inside(pid, "ip", "link", "show", "eth0")
    lost = containers.create(NetworkMode="template")
    with pytest.raises(Forbidden, match="cannot create endpoint on configuration-only network"):
        networks.allocate(lost)
    with pytest.raises(Forbidden, match='configuration network "template" is in use'):
        await networks.remove("template")
    assert await networks.prune() == []


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"ConfigFrom": {"Network": "no"}}, NotFound, 'configuration network "no" does not exist'),
        (
            {"ConfigFrom": {"Network": "template"}, "Options": {"a": "b"}},
            Forbidden,
            "user specified configurations are not supported if the network depends on a",
        ),
        ({"IPAM": {"Driver": "nope"}}, NotFound, 'plugin "nope" not found'),
        ({"Scope": "swarm"}, Forbidden, "cannot create a swarm scoped network when swarm is not"),
        ({"Ingress": True}, Forbidden, "ingress network can only be global scope network"),
    ],
)
async def test_requests_that_cannot_be(
    networks: Networks, body: dict[str, Any], kind: type[WherryError], message: str
) -> None:
    await networks.create({"Name": "template", "ConfigOnly": True})
    with pytest.raises(kind, match=re.escape(message)):
        await networks.create({"Name": "net", **body})


async def test_changes_by_the_state_of_the_container(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    for name in ("one", "two"):
        await networks.create({"Name": name})
    stopped = containers.create(NetworkMode="one")
    await networks.connect("two", stopped)
    await networks.connect("two", stopped, {"Aliases": ["again"]})
    assert networks.settings(stopped)["Networks"]["two"]["Aliases"] == ["again"]
    await networks.remove("two")
    with pytest.raises(NotFound, match="network two not found"):
        networks.allocate(stopped)
    await networks.disconnect("two", stopped)
    await containers.start(stopped)
    with pytest.raises(Forbidden, match="endpoint with name c1 already exists in network one"):
        await networks.connect("one", stopped)

    alone = containers.create(NetworkMode="none")
    with pytest.raises(InvalidParameter, match=r"in private \(none\) mode"):
        await networks.connect("one", alone)
    await networks.disconnect("none", alone)
    await networks.connect("one", alone)
    pid = await containers.start(alone)
    assert containers.address(alone, "one") in inside(pid, "ip", "address")

    joined = containers.create(NetworkMode=f"container:{stopped}")
    on_host = containers.create(NetworkMode="host", PortBindings={"80/tcp": [{}]})
    for identity in (joined, on_host):
        with pytest.raises(InvalidParameter, match="container sharing network namespace with"):
            await networks.connect("one", identity)
    await networks.attach(networks.allocate(joined), pid)
    await networks.attach(networks.allocate(on_host), pid)
    assert networks.settings(joined)["SandboxKey"] == ""
    assert networks.settings(on_host)["Ports"] == {}
    with pytest.raises(InvalidParameter, match="cannot be disconnected from host network"):
        await networks.disconnect("host", on_host)


async def test_other_networks_cost_a_start_nothing(
    networks: Networks, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await networks.create({"Name": f"net{number}"})
    await containers.run(NetworkMode="net0")
    read: list[str] = []
    original = records.network_from_json
    monkeypatch.setattr(
        records, "network_from_json", lambda *row: read.append(row[1]) or original(*row)
    )
    await containers.run(NetworkMode="net0")
    assert read == []
