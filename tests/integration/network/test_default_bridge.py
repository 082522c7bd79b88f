"""Containers on the default bridge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.netlab import Containers, Namespaces, Segment, ask, inside, reconcile

from wherry.errors import KernelError
from wherry.network.networks import Networks


async def test_a_container_has_address_route_and_mac(
    networks: Networks, containers: Containers
) -> None:
    identity, pid = await containers.run()
    settings = networks.settings(identity)
    assert settings["IPAddress"] == "172.17.0.2"
    assert settings["MacAddress"] == "02:42:ac:11:00:02"
    addresses = inside(pid, "ip", "-o", "address")
    assert "inet 172.17.0.2/16" in addresses
    assert "lo    inet 127.0.0.1/8" in addresses
    assert "eth0    inet6" not in addresses
    assert "default via 172.17.0.1 dev eth0" in inside(pid, "ip", "route")
    assert settings["MacAddress"] in inside(pid, "ip", "link")
    assert settings["Networks"]["bridge"]["Gateway"] == "172.17.0.1"
    shown = networks.inspect("bridge")["Containers"][identity]
    assert shown["IPv4Address"] == "172.17.0.2/16"


async def test_none_has_only_loopback(networks: Networks, containers: Containers) -> None:
    identity, pid = await containers.run(NetworkMode="none")
    links = inside(pid, "ip", "-br", "link")
    assert "eth0" not in links
    assert "lo               UNKNOWN" in links
    assert networks.settings(identity)["Networks"]["none"]["NetworkID"]


async def test_containers_reach_each_other_and_the_outside(
    containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    first, pid1 = await containers.run()
    _, pid2 = await containers.run()
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    namespaces.serve(segment.neighbour, "udp", "0.0.0.0", 53)
    assert ask(pid2, "tcp", containers.address(first), 80) == "hi 172.17.0.3"
    # The neighbour sees the host's address.
    assert ask(pid2, "udp", "192.0.2.9", 53) == "hi 192.0.2.2"


async def test_addresses_come_back_after_an_end(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    identity, pid = await containers.run()
    namespaces.end(pid)
    await networks.detach(identity)
    await networks.detach(identity)
    settings = networks.settings(identity)
    assert settings["IPAddress"] == "" and settings["SandboxID"] == ""
    await containers.start(identity)
    assert containers.address(identity) == "172.17.0.2"


async def test_a_failed_attach_leaves_nothing(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    identity = containers.create()
    plan = networks.allocate(identity)
    pid = namespaces.make()
    inside(pid, "ip", "link", "add", "eth0", "type", "bridge")
    before = inside(segment.host, "ip", "-br", "link")
    with pytest.raises(KernelError, match=r"create veth .*: File exists"):
        await networks.attach(plan, pid)
    assert inside(segment.host, "ip", "-br", "link") == before
    await networks.detach(identity)
    assert networks.inspect("bridge")["Containers"] == {}


async def test_settings_of_dockerd_shape_the_bridge(
    make_networks: Callable[..., Networks], segment: Segment
) -> None:
    networks = make_networks(
        bip="10.7.0.1/24", fixed_cidr="10.7.0.128/25", default_gateway="10.7.0.2", mtu=1400
    )
    await networks.start()
    view = networks.inspect("bridge")
    assert view["IPAM"]["Config"][0]["Subnet"] == "10.7.0.0/24"
    assert view["IPAM"]["Config"][0]["IPRange"] == "10.7.0.128/25"
    name = view["Options"]["com.docker.network.bridge.name"]
    assert "mtu 1400" in inside(segment.host, "ip", "link", "show", name)
    assert "10.7.0.1/24" in inside(segment.host, "ip", "address", "show", name)
    await networks.close()


async def test_subnets_keep_clear_of_host_routes(
    make_networks: Callable[..., Networks], segment: Segment
) -> None:
    inside(segment.host, "ip", "route", "add", "172.17.5.0/24", "via", "192.0.2.9")
    networks = make_networks()
    await networks.start()
    assert networks.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16"
    await networks.close()


async def test_a_restarted_engine_takes_up_what_runs_and_releases_what_ended(
    make_networks: Callable[..., Networks], namespaces: Namespaces, segment: Segment
) -> None:
    first = make_networks()
    await first.start()
    containers = Containers(first, namespaces)
    kept, pid = await containers.run()
    ended, _ = await containers.run()
    await first.close()

    second = make_networks()
    await second.start()
    await reconcile(second, {kept: pid})
    assert second.settings(kept)["IPAddress"] == "172.17.0.2"
    assert second.settings(ended)["IPAddress"] == ""
    assert list(second.inspect("bridge")["Containers"]) == [kept]
    namespaces.serve(segment.neighbour, "udp", "0.0.0.0", 53)
    assert ask(pid, "udp", "192.0.2.9", 53) == "hi 192.0.2.2"
    await second.close()


async def test_what_was_deleted_underneath_is_repaired(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    first, pid1 = await containers.run()
    second, pid2 = await containers.run()
    bridge = networks.inspect("bridge")["Options"]["com.docker.network.bridge.name"]
    inside(segment.host, "ip", "link", "delete", bridge)
    inside(pid2, "ip", "link", "delete", "eth0")
    await reconcile(networks, {first: pid1, second: pid2})
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    assert ask(pid2, "tcp", containers.address(first), 80) == "hi 172.17.0.3"


async def test_a_deleted_bridge_comes_back_at_once(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    first, pid1 = await containers.run()
    _, pid2 = await containers.run()
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    bridge = networks.inspect("bridge")["Options"]["com.docker.network.bridge.name"]
    inside(segment.host, "ip", "link", "delete", bridge)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if bridge in inside(segment.host, "ip", "-br", "link"):
            break
    await asyncio.sleep(0.2)
    assert ask(pid2, "tcp", containers.address(first), 80) == "hi 172.17.0.3"


async def test_a_flushed_firewall_comes_back_at_once(networks: Networks, segment: Segment) -> None:
    before = inside(segment.host, "nft", "list", "ruleset")
    assert "chain published" in before
    inside(segment.host, "nft", "flush", "ruleset")
    for _ in range(100):
        await asyncio.sleep(0.05)
        if "chain published" in inside(segment.host, "nft", "list", "ruleset"):
            break
    assert inside(segment.host, "nft", "list", "ruleset") == before


async def test_what_a_crash_left_is_swept(
    networks: Networks, containers: Containers, segment: Segment
) -> None:
    kept, pid = await containers.run()
    stale, stale_pid = await containers.run()
    await networks.create({"Name": "gone"})
    identity = networks.inspect("gone")["Id"]
    # A crash in a disconnect and one in a remove: the store is done, the kernel is not.
    networks._records.release(stale)
    networks._records.delete_network(identity)
    await reconcile(networks, {kept: pid, stale: stale_pid})
    assert "eth0" not in inside(stale_pid, "ip", "-br", "link")
    assert "eth0" in inside(pid, "ip", "-br", "link")
    assert identity[:12] not in inside(segment.host, "ip", "-br", "link")
    assert identity[:12] not in inside(segment.host, "nft", "list", "ruleset")


async def test_an_engine_that_runs_nothing_leaves_nothing(
    make_networks: Callable[..., Networks], namespaces: Namespaces, segment: Segment
) -> None:
    def state() -> str:
        links = inside(segment.host, "ip", "-br", "link").splitlines()
        # Names and addresses: whether there is a carrier is for the kernel to say, later.
        named = [f"{line.split()[0]} {line.split()[2]}" for line in links]
        return "\n".join([*named, inside(segment.host, "nft", "list", "ruleset")])

    before = state()
    networks = make_networks()
    await networks.start()
    await reconcile(networks, {})
    await networks.create({"Name": "net"})
    identity, pid = await Containers(networks, namespaces).run(NetworkMode="net")
    await networks.close()
    assert identity and "br-" in state()

    again = make_networks()
    await again.start()
    await reconcile(again, {identity: pid})
    namespaces.end(pid)
    await again.detach(identity)
    await again.close()
    for _ in range(100):
        if state() == before:
            break
        await asyncio.sleep(0.05)  # namespaces take their links along when they end
    assert state() == before
