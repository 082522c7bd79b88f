"""What was not published is closed; what was published to one is closed to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.netlab import Containers, Namespaces, Segment, ask, inside, reconcile

from wherry.network.networks import Networks

PUBLISHED = {"80/tcp": [{"HostIp": "192.0.2.2", "HostPort": "8080"}]}
LOOPBACK = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}


@pytest.fixture
async def victim(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> str:
    """The address of a dual-stack container with port 80 published and 81 not; the neighbour
    has routes straight to its networks."""
    subnets = [{"Subnet": "10.50.0.0/24"}, {"Subnet": "fd00:50::/64"}]
    await networks.create({"Name": "home", "EnableIPv6": True, "IPAM": {"Config": subnets}})
    identity, pid = await containers.run("victim", NetworkMode="home", PortBindings=PUBLISHED)
    for address in ("0.0.0.0", "::"):
        for port in (80, 81):
            if address == "::":
                continue
            namespaces.serve(pid, "tcp", address, port)
            namespaces.serve(pid, "udp", address, port)
    inside(segment.neighbour, "ip", "route", "add", "10.50.0.0/24", "via", "192.0.2.2")
    inside(segment.neighbour, "ip", "route", "add", "172.16.0.0/12", "via", "192.0.2.2")
    inside(segment.neighbour, "ip", "-6", "route", "add", "fd00:50::/64", "via", "fd00:2::2")
    return containers.address(identity, "home")


async def test_a_neighbour_that_routes_to_the_container_reaches_nothing(
    victim: str, segment: Segment
) -> None:
    assert ask(segment.neighbour, "tcp", "192.0.2.2", 8080) == "hi 192.0.2.9"
    for protocol in ("tcp", "udp"):
        # Not even the port that is published, by the container's own address.
        for port in (80, 81):
            assert ask(segment.neighbour, protocol, victim, port, 0.3).startswith("error")


async def test_a_neighbour_reaches_nothing_over_ipv6(
    victim: str,
    networks: Networks,
    containers: Containers,
    namespaces: Namespaces,
    segment: Segment,
) -> None:
    identity, pid = await containers.run(NetworkMode="home")
    namespaces.serve(pid, "tcp", "::", 80)
    address = containers.address(identity, "home", 6)
    assert ask(segment.host, "tcp", address, 80).startswith("hi")
    assert ask(segment.neighbour, "tcp", address, 80, 0.3).startswith("error")


async def test_containers_of_other_networks_reach_only_what_is_published(
    victim: str, networks: Networks, containers: Containers
) -> None:
    await networks.create({"Name": "other"})
    _, stranger = await containers.run(NetworkMode="other")
    _, default = await containers.run()
    for pid in (stranger, default):
        assert ask(pid, "tcp", "192.0.2.2", 8080).startswith("hi")
        assert ask(pid, "tcp", victim, 80, 0.3).startswith("error")
        assert ask(pid, "udp", victim, 81, 0.3).startswith("error")


async def test_a_port_on_one_address_is_not_on_others(victim: str, segment: Segment) -> None:
    inside(segment.host, "ip", "address", "add", "192.0.2.3/24", "dev", "lan0")
    assert ask(segment.neighbour, "tcp", "192.0.2.2", 8080).startswith("hi")
    assert ask(segment.neighbour, "tcp", "192.0.2.3", 8080, 0.3).startswith("error")
    assert ask(segment.host, "tcp", "127.0.0.1", 8080, 0.3).startswith("error")


async def test_a_loopback_port_is_closed_to_the_segment_and_to_containers(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    _, pid = await containers.run(PortBindings=LOOPBACK)
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    assert ask(segment.host, "tcp", "127.0.0.1", 8080).startswith("hi")
    assert ask(segment.neighbour, "tcp", "192.0.2.2", 8080, 0.3).startswith("error")
    # Neither do packets to the host's loopback address get in, sent over the wire.
    for attacker, gateway in ((segment.neighbour, "192.0.2.2"), (pid, "172.17.0.1")):
        for address in ("127.0.0.1/32", "127.8.8.8/32"):
            inside(attacker, "ip", "route", "add", "table", "local", address, "via", gateway)
        inside(attacker, "ip", "route", "replace", "127.8.8.8/32", "via", gateway)
        inside(attacker, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")
        assert ask(attacker, "tcp", "127.8.8.8", 8080, 0.3).startswith("error")


async def test_the_host_s_own_loopback_services_stay_its_own(
    containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    _, pid = await containers.run(PortBindings=LOOPBACK)
    namespaces.serve(segment.host, "tcp", "127.0.0.1", 9000)
    flags = inside(segment.host, "sh", "-c", "cat /proc/sys/net/ipv4/conf/*/route_localnet")
    assert set(flags.split()) == {"0"}
    assert ask(pid, "tcp", "172.17.0.1", 9000, 0.3).startswith("error")


async def test_an_internal_network_is_closed_from_the_segment(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create({"Name": "closed", "Internal": True})
    identity, pid = await containers.run(NetworkMode="closed", PortBindings=PUBLISHED)
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    inside(segment.neighbour, "ip", "route", "add", "172.16.0.0/12", "via", "192.0.2.2")
    address = containers.address(identity, "closed")
    assert ask(segment.neighbour, "tcp", address, 80, 0.3).startswith("error")
    assert ask(segment.neighbour, "tcp", "192.0.2.2", 8080, 0.3).startswith("error")


async def test_router_advertisements_of_containers_are_not_believed(
    networks: Networks, containers: Containers, segment: Segment
) -> None:
    await networks.create({"Name": "six", "EnableIPv6": True})
    _, rogue = await containers.run(NetworkMode="six")
    _, other = await containers.run(NetworkMode="six")
    advertise = (
        "import socket, struct\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)\n"
        "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)\n"
        "ra = struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 1800, 0, 0)\n"
        "prefix = struct.pack('!BBBBIII16s', 3, 4, 64, 0xC0, 9999, 9999, 0,\n"
        "    socket.inet_pton(socket.AF_INET6, '2001:db8:bad::'))\n"
        "index = socket.if_nametoindex('eth0')\n"
        "s.sendto(ra + prefix, ('ff02::1', 0, 0, index))\n"
    )
    inside(rogue, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/eth0/forwarding")
    for _ in range(2):
        assert inside(rogue, "python3", "-c", advertise) == ""
    for pid in (segment.host, other):
        assert "2001:db8:bad" not in inside(pid, "ip", "-6", "address")
        assert "fe80::" not in inside(pid, "ip", "-6", "route", "show", "default")


async def test_two_engines_do_not_disturb_each_other(
    make_networks: Callable[..., Networks], namespaces: Namespaces, segment: Segment
) -> None:
    engines = [make_networks("first"), make_networks("second")]
    for engine in engines:
        await engine.start()
        await reconcile(engine, {})
    served = []
    for position, engine in enumerate(engines):
        containers = Containers(engine, namespaces)
        bound = {"80/tcp": [{"HostPort": str(8080 + position)}]}
        identity, pid = await containers.run(PortBindings=bound)
        namespaces.serve(pid, "tcp", "0.0.0.0", 80, f"engine{position}")
        served.append((containers.address(identity), pid))
    assert served[0][0] != served[1][0]
    for position in range(2):
        answer = ask(segment.neighbour, "tcp", "192.0.2.2", 8080 + position)
        assert answer == f"engine{position} 192.0.2.9"
    # They are strangers to each other.
    assert ask(served[0][1], "tcp", served[1][0], 80, 0.3).startswith("error")
    await reconcile(engines[0], {})
    await engines[0].close()
    assert ask(segment.neighbour, "tcp", "192.0.2.2", 8081) == "engine1 192.0.2.9"
    await reconcile(engines[1], {})
    await engines[1].close()


async def test_rules_of_others_stay_as_they_are(
    make_networks: Callable[..., Networks],
    namespaces: Namespaces,
    segment: Segment,
    tmp_path: Path,
) -> None:
    foreign = tmp_path / "foreign.nft"
    foreign.write_text(
        "table ip filter {\n chain FORWARD {\n"
        "  type filter hook forward priority filter; policy accept;\n"
        '  counter comment "mine"\n }\n}\n'
        "table inet site {\n set s { type ipv4_addr; elements = { 10.1.1.1 }; }\n"
        " chain c {\n  ip saddr @s drop\n }\n}\n"
    )
    assert inside(segment.host, "nft", "-f", str(foreign)) == ""

    def rules() -> str:
        tables = (("ip", "filter"), ("inet", "site"))
        return "".join(inside(segment.host, "nft", "-s", "list", "table", *one) for one in tables)

    before = rules()
    assert "mine" in before and "10.1.1.1" in before
    engine = make_networks()
    await engine.start()
    await reconcile(engine, {})
    identity, pid = await Containers(engine, namespaces).run(PortBindings=PUBLISHED)
    await engine.create({"Name": "net"})
    assert rules() == before
    namespaces.end(pid)
    await engine.detach(identity)
    await engine.close()
    assert rules() == before
    left = inside(segment.host, "nft", "list", "tables").split("\n")
    assert [line for line in left if line] == ["table ip filter", "table inet site"]


async def test_who_stays_in_the_namespace_of_an_ended_container_has_left_its_networks(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    ended, pid = await containers.run()
    address = containers.address(ended)
    stays = namespaces.serve(pid, "tcp", "0.0.0.0", 80, "ghost")  # as --network container: does
    assert ask(segment.host, "tcp", address, 80).startswith("ghost ")
    namespaces.end(pid)
    await networks.detach(ended)
    for change in (("down",), ("up",), ("address", "02:42:ac:11:00:63")):
        inside(stays, "ip", "link", "set", "eth0", *change)
    inside(stays, "ip", "address", "add", "172.17.0.99/16", "dev", "eth0")
    follower, pid = await containers.run()
    assert containers.address(follower) == address
    namespaces.serve(pid, "tcp", "0.0.0.0", 80, "alive")
    for _ in range(5):
        assert ask(segment.host, "tcp", address, 80).startswith("alive ")
    assert ask(segment.host, "tcp", "172.17.0.99", 80, wait=1.0).startswith("error")
    other, pid = await containers.run()
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    assert ask(stays, "tcp", containers.address(other), 80, wait=1.0).startswith("error")
