"""Networks that need parts of the kernel that a host may lack: ipvlan, VLANs, dummies, SCTP."""

from __future__ import annotations

import re
from typing import Any

from tests.netlab import (
    Containers,
    Namespaces,
    Segment,
    ask,
    containers,
    inside,
    make_networks,
    namespaces,
    networks,
    segment,
)

from wherry.network.networks import Networks

__all__ = ["containers", "make_networks", "namespaces", "networks", "segment"]


def on_parent(driver: str, subnet: str = "192.0.2.0/24", **options: str) -> dict[str, Any]:
    """A network on the host's lan0; containers get the upper addresses of the segment."""
    place: dict[str, object] = {"Subnet": subnet}
    if subnet == "192.0.2.0/24":
        place |= {"IPRange": "192.0.2.64/27", "Gateway": "192.0.2.9"}
    return {
        "Name": "lan",
        "Driver": driver,
        "Options": {"parent": "lan0", **options},
        "IPAM": {"Config": [place]},
    }


async def test_ipvlan_neighbours_share_the_host_s_mac(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create(on_parent("ipvlan"))
    first, pid1 = await containers.run(NetworkMode="lan")
    _, pid2 = await containers.run(NetworkMode="lan")
    assert containers.address(first, "lan") == "192.0.2.64"
    shown = (inside(segment.host, "ip", "link", "show", "lan0"), inside(pid1, "ip", "link"))
    host, container = (re.findall(r"link/ether (\S+)", text) for text in shown)
    assert host == container
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    assert ask(pid2, "tcp", "192.0.2.64", 80) == "hi 192.0.2.65"
    assert ask(segment.neighbour, "tcp", "192.0.2.64", 80) == "hi 192.0.2.9"
    assert "default via 192.0.2.9" in inside(pid1, "ip", "route")


async def test_ipvlan_routes_on_layer_3(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create(on_parent("ipvlan", "10.9.0.0/24", ipvlan_mode="l3s"))
    first, pid1 = await containers.run(NetworkMode="lan")
    _, pid2 = await containers.run(NetworkMode="lan")
    assert "default dev eth0" in inside(pid1, "ip", "route")
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    assert ask(pid2, "tcp", containers.address(first, "lan"), 80).startswith("hi 10.9.0.")


async def test_a_vlan_is_made_and_removed_with_its_network(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    far = segment.neighbour
    inside(far, "ip", "link", "add", "link", "lan0", "name", "tagged", "type", "vlan", "id", "10")
    inside(far, "ip", "address", "add", "10.9.0.200/24", "dev", "tagged")
    inside(far, "ip", "link", "set", "tagged", "up")
    await networks.create(on_parent("macvlan", "10.9.0.0/24", parent="lan0.10"))
    assert "802.1Q id 10" in inside(segment.host, "ip", "-d", "link", "show", "lan0.10")
    first, pid = await containers.run(NetworkMode="lan")
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    assert ask(far, "tcp", containers.address(first, "lan"), 80) == "hi 10.9.0.200"
    namespaces.end(pid)
    await networks.detach(first)
    networks.forget(first)
    await networks.remove("lan")
    assert "lan0.10" not in inside(segment.host, "ip", "link")
    # One of somebody else stays.
    tagged = ("name", "lan0.20", "type", "vlan", "id", "20")
    inside(segment.host, "ip", "link", "add", "link", "lan0", *tagged)
    await networks.create(on_parent("macvlan", "10.9.0.0/24", parent="lan0.20"))
    await networks.remove("lan")
    assert "lan0.20" in inside(segment.host, "ip", "link")


async def test_a_dummy_is_the_parent_of_an_internal_network(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create({"Name": "alone", "Driver": "ipvlan"})
    first, pid1 = await containers.run(NetworkMode="alone")
    _, pid2 = await containers.run(NetworkMode="alone")
    assert "dummy" in inside(segment.host, "ip", "-d", "link")
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    assert ask(pid2, "tcp", containers.address(first, "alone"), 80).startswith("hi ")


async def test_sctp_is_published(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    published = {"80/sctp": [{"HostPort": "8080"}]}
    _, pid = await containers.run(PortBindings=published)
    namespaces.serve(pid, "sctp", "0.0.0.0", 80)
    _, other = await containers.run()
    assert ask(segment.neighbour, "sctp", "192.0.2.2", 8080) == "hi 192.0.2.9"
    assert ask(segment.host, "sctp", "192.0.2.2", 8080).startswith("hi ")
    assert ask(other, "sctp", "192.0.2.2", 8080).startswith("hi ")
