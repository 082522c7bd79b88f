"""User-defined networks: all operations and options, names, connect and disconnect."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

import pytest
from tests.netlab import Containers, Namespaces, Segment, ask, inside, reconcile

from wherry.errors import Conflict, Forbidden, InvalidParameter, NotFound
from wherry.network.networks import Networks

RESOLVE = """
import socket, struct, sys
kind = {"A": 1, "AAAA": 28, "PTR": 12, "MX": 15}[sys.argv[1]]
tcp = sys.argv[3:] == ["tcp"]
name = b"".join(bytes([len(p)]) + p.encode() for p in sys.argv[2].split(".")) + b"\\0"
query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + name + struct.pack(">HH", kind, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
s.settimeout(4)
s.connect(("127.0.0.11", 53))
s.send(struct.pack(">H", len(query)) + query if tcp else query)
data = s.recv(65535)[2 if tcp else 0:]
flags, _, count = struct.unpack_from(">HHH", data, 2)
offset = 12 + len(name) + 4
found = []
for _ in range(count):
    kind, _, _, length = struct.unpack_from(">HHIH", data, offset + 2)
    value = data[offset + 12:offset + 12 + length]
    if kind == 1: found.append(socket.inet_ntop(socket.AF_INET, value))
    elif kind == 28: found.append(socket.inet_ntop(socket.AF_INET6, value))
    else:
        labels = []
        while value[0]:
            labels.append(value[1:1 + value[0]].decode()); value = value[1 + value[0]:]
        found.append(".".join(labels))
    offset += 12 + length
print("code", flags & 15, "truncated" if flags & 0x200 else "", *found)
"""


NAME_SERVER = """
import socket, sys, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], 53))
tcp = socket.create_server((sys.argv[1], 53))
print(flush=True)
def answer(query):
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4\\1\\2\\3\\4"
    return query[:2] + b"\\x81\\x80" + query[4:6] + b"\\0\\1" + query[8:] + record
def serve_tcp():
    while True:
        peer, _ = tcp.accept()
        message = answer(peer.recv(999)[2:])
        peer.sendall(len(message).to_bytes(2, "big") + message)
        peer.close()
threading.Thread(target=serve_tcp, daemon=True).start()
while True:
    query, asker = udp.recvfrom(999)
    udp.sendto(answer(query), asker)
"""


def name_server(namespaces: Namespaces, pid: int, address: str) -> None:
    """Serve 1.2.3.4 for every name, at ``address`` in the namespace of ``pid``."""
    inside = ("nsenter", "--net", "--target", str(pid), "python3", "-S", "-c")
    namespaces.run(*inside, NAME_SERVER, address)


def resolve(pid: int, name: str, kind: str = "A", *how: str) -> str:
    """``code N`` and the records that the container's name server answers."""
    return inside(pid, "python3", "-S", "-c", RESOLVE, kind, name, *how).strip()


async def test_names_aliases_and_ids_resolve(networks: Networks, containers: Containers) -> None:
    await networks.create({"Name": "net", "EnableIPv6": True})
    db = containers.create("db", endpoints={"net": {"Aliases": ["Data"]}}, NetworkMode="net")
    await containers.start(db)
    _, web = await containers.run("web", NetworkMode="net")
    v4, v6 = containers.address(db, "net"), containers.address(db, "net", 6)
    for name in ("db", "DB", "data", "db.net", db[:12]):
        assert resolve(web, name) == f"code 0  {v4}"
        assert resolve(web, name, "AAAA") == f"code 0  {v6}"
    assert resolve(web, "db", "A", "tcp") == f"code 0  {v4}"
    assert resolve(web, "db", "MX") == "code 0"
    backwards = ".".join(reversed(v4.split("."))) + ".in-addr.arpa"
    assert resolve(web, backwards, "PTR") == "code 0  db.net"


async def test_port_53_stays_free_for_the_container(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    await networks.create({"Name": "net"})
    _, pid = await containers.run("web", NetworkMode="net")
    namespaces.serve(pid, "udp", "0.0.0.0", 53)
    namespaces.serve(pid, "tcp", "0.0.0.0", 53)
    assert resolve(pid, "web").startswith("code 0")


async def test_an_alias_of_many_is_answered_in_turn(
    networks: Networks, containers: Containers
) -> None:
    await networks.create({"Name": "net"})
    addresses = set()
    for _ in range(3):
        one = containers.create(endpoints={"net": {"Aliases": ["all"]}}, NetworkMode="net")
        await containers.start(one)
        addresses.add(containers.address(one, "net"))
    _, pid = await containers.run("asker", NetworkMode="net")
    answers = [resolve(pid, "all").split()[2:] for _ in range(3)]
    assert all(set(answer) == addresses for answer in answers)
    assert {answer[0] for answer in answers} == addresses


async def test_other_networks_do_not_know_the_name(
    networks: Networks, containers: Containers
) -> None:
    await networks.create({"Name": "one", "Internal": True})
    await networks.create({"Name": "two", "Internal": True})
    await containers.run("db", NetworkMode="one")
    _, web = await containers.run("web", NetworkMode="two")
    assert resolve(web, "db") == "code 2"


async def test_the_rest_is_forwarded_unless_the_network_is_internal(
    networks: Networks,
    containers: Containers,
    namespaces: Namespaces,
    segment: Segment,
) -> None:
    name_server(namespaces, segment.neighbour, "192.0.2.9")
    await networks.create({"Name": "out"})
    await networks.create({"Name": "closed", "Internal": True})
    _, out = await containers.run(NetworkMode="out", Dns=["192.0.2.9"])
    _, closed = await containers.run(NetworkMode="closed", Dns=["192.0.2.9"])
    assert resolve(out, "example.org") == "code 0  1.2.3.4"
    assert resolve(out, "example.org", "A", "tcp") == "code 0  1.2.3.4"
    assert resolve(closed, "example.org") == "code 2"


async def test_chosen_servers_are_asked_from_the_container(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    await networks.create(
        {"Name": "net", "Internal": True, "IPAM": {"Config": [{"Subnet": "10.6.0.0/24"}]}}
    )
    wanted: dict[str, object] = {"net": {"IPAMConfig": {"IPv4Address": "10.6.0.53"}}}
    _, server = await containers.run("dns", NetworkMode="net", endpoints=wanted)
    name_server(namespaces, server, "10.6.0.53")
    _, peer = await containers.run(NetworkMode="net", Dns=["10.6.0.53"])
    assert resolve(peer, "example.org") == "code 0  1.2.3.4"
    assert resolve(peer, "example.org", "A", "tcp") == "code 0  1.2.3.4"
    assert resolve(peer, "dns") == "code 0  10.6.0.53"
    # Loopback is the container's own, never the host's.
    _, alone = await containers.run(NetworkMode="net", Dns=["127.0.0.1"])
    assert resolve(alone, "example.org") == "code 2"
    name_server(namespaces, alone, "127.0.0.1")
    assert resolve(alone, "example.org") == "code 0  1.2.3.4"


async def test_a_renamed_container_answers_to_its_new_name(
    networks: Networks, containers: Containers
) -> None:
    await networks.create({"Name": "net"})
    identity, pid = await containers.run("old", NetworkMode="net")
    networks.rename(identity, "new")
    await asyncio.sleep(0.3)
    assert resolve(pid, "new") == f"code 0  {containers.address(identity, 'net')}"
    assert "code 0" not in resolve(pid, "old.net")
    assert networks.inspect("net")["Containers"][identity]["Name"] == "new"


async def test_links_are_private_names(networks: Networks, containers: Containers) -> None:
    await networks.create({"Name": "net"})
    db, _ = await containers.run("db", NetworkMode="net")
    web = containers.create("web", endpoints={"net": {"Links": ["db:store"]}}, NetworkMode="net")
    pid = await containers.start(web)
    _, other = await containers.run("other", NetworkMode="net")
    assert resolve(pid, "store") == f"code 0  {containers.address(db, 'net')}"
    assert "code 0" not in resolve(other, "store")


async def test_connect_and_disconnect_while_running(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    await networks.create({"Name": "net"})
    db, db_pid = await containers.run("db", NetworkMode="net")
    namespaces.serve(db_pid, "tcp", "0.0.0.0", 80)
    web, pid = await containers.run("web")
    folder = os.path.join(networks._options.containers_directory, web)
    os.makedirs(folder)
    open(os.path.join(folder, "hosts"), "w").close()
    address = containers.address(db, "net")
    assert ask(pid, "tcp", address, 80, 0.3).startswith("error")

    await networks.connect("net", web, {"Aliases": ["front"]})
    assert ask(pid, "tcp", address, 80).startswith("hi ")
    assert resolve(pid, "db") == f"code 0  {address}"
    assert resolve(db_pid, "front") == f"code 0  {containers.address(web, 'net')}"
    with open(os.path.join(folder, "hosts")) as hosts:
        assert containers.address(web, "net") in hosts.read()
    with open(os.path.join(folder, "resolv.conf")) as resolv:
        assert resolv.read().startswith("nameserver 127.0.0.11\n")
    assert set(networks.settings(web)["Networks"]) == {"bridge", "net"}
    with pytest.raises(Forbidden, match="endpoint with name web already exists in network net"):
        await networks.connect("net", web)

    await networks.disconnect("bridge", web)
    assert "default via 172.18.0.1" in inside(pid, "ip", "route")
    await networks.disconnect("net", web)
    assert "eth" not in inside(pid, "ip", "-br", "link")
    assert resolve(db_pid, "front") != f"code 0  {address}"
    with pytest.raises(Conflict, match="is not connected to network net"):
        await networks.disconnect("net", web)


async def test_connect_of_a_stopped_container_waits_for_its_start(
    networks: Networks, containers: Containers
) -> None:
    await networks.create({"Name": "net", "IPAM": {"Config": [{"Subnet": "10.5.0.0/24"}]}})
    identity = containers.create("c")
    await networks.connect("net", identity, {"IPAMConfig": {"IPv4Address": "10.5.0.77"}})
    assert networks.settings(identity)["Networks"]["net"]["IPAddress"] == ""
    pid = await containers.start(identity)
    assert containers.address(identity, "net") == "10.5.0.77"
    assert "10.5.0.77/24" in inside(pid, "ip", "-o", "address", "show", "eth1")


async def test_the_gateway_follows_priority_then_name(
    networks: Networks, containers: Containers
) -> None:
    for name in ("a", "b"):
        await networks.create({"Name": name})
    both = {"a": {}, "b": {}}
    identity = containers.create(endpoints=both, NetworkMode="b")
    pid = await containers.start(identity)
    assert "default via 172.18.0.1" in inside(pid, "ip", "route")
    preferred = {"a": {}, "b": {"GwPriority": 1}}
    identity = containers.create(endpoints=preferred, NetworkMode="a")
    pid = await containers.start(identity)
    assert "default via 172.19.0.1" in inside(pid, "ip", "route")


async def test_every_option_of_create(
    networks: Networks, containers: Containers, segment: Segment
) -> None:
    body: dict[str, Any] = {
        "Name": "full",
        "EnableIPv6": True,
        "Attachable": True,
        "Labels": {"a": "b"},
        "Options": {
            "com.docker.network.bridge.name": "mybridge",
            "com.docker.network.driver.mtu": "1400",
        },
        "IPAM": {
            "Config": [
                {
                    "Subnet": "10.6.0.0/16",
                    "IPRange": "10.6.1.0/24",
                    "Gateway": "10.6.0.254",
                    "AuxiliaryAddresses": {"router": "10.6.1.0"},
                },
                {"Subnet": "fd00:6::/64"},
            ]
        },
    }
    identity = (await networks.create(body))["Id"]
    view = networks.inspect("full")
    assert view["Id"] == identity
    assert view["IPAM"]["Config"] == [
        body["IPAM"]["Config"][0],
        {"Subnet": "fd00:6::/64", "Gateway": "fd00:6::1"},
    ]
    assert view["Labels"] == {"a": "b"} and view["Attachable"]
    container, pid = await containers.run(NetworkMode="full")
    assert containers.address(container, "full") == "10.6.1.1"
    assert containers.address(container, "full", 6) == "fd00:6::2"
    assert "mtu 1400" in inside(pid, "ip", "link", "show", "eth0")
    assert "mtu 1400" in inside(segment.host, "ip", "link", "show", "mybridge")
    assert "default via 10.6.0.254" in inside(pid, "ip", "route")
    assert "default via fd00:6::1" in inside(pid, "ip", "-6", "route")
    assert networks.inspect(identity[:8])["Name"] == "full"


async def test_static_addresses_and_mac(networks: Networks, containers: Containers) -> None:
    subnets = [{"Subnet": "10.6.0.0/24"}, {"Subnet": "fd00:6::/64"}]
    await networks.create({"Name": "net", "EnableIPv6": True, "IPAM": {"Config": subnets}})
    wanted = {
        "IPAMConfig": {"IPv4Address": "10.6.0.9", "IPv6Address": "fd00:6::9"},
        "MacAddress": "02:00:00:00:00:09",
    }
    identity = containers.create(endpoints={"net": wanted}, NetworkMode="net")
    pid = await containers.start(identity)
    shown = inside(pid, "ip", "address", "show", "eth0")
    for text in ("10.6.0.9/24", "fd00:6::9/64", "02:00:00:00:00:09"):
        assert text in shown
    second = containers.create(endpoints={"net": wanted}, NetworkMode="net")
    with pytest.raises(Forbidden, match="Address already in use"):
        networks.allocate(second)


async def test_internal_networks_have_no_way_out(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create({"Name": "closed", "Internal": True})
    first, pid1 = await containers.run(NetworkMode="closed")
    _, pid2 = await containers.run(NetworkMode="closed")
    assert "default" not in inside(pid1, "ip", "route")
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    assert ask(pid2, "tcp", containers.address(first, "closed"), 80).startswith("hi ")
    # Even a container that gives itself a route does not get out.
    namespaces.serve(segment.neighbour, "udp", "0.0.0.0", 53)
    inside(pid1, "ip", "route", "add", "default", "via", "172.18.0.1")
    assert ask(pid1, "udp", "192.0.2.9", 53, 0.3).startswith("error")


async def test_without_icc_containers_reach_only_the_outside(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create(
        {"Name": "apart", "Options": {"com.docker.network.bridge.enable_icc": "false"}}
    )
    first, pid1 = await containers.run(NetworkMode="apart")
    _, pid2 = await containers.run(NetworkMode="apart")
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    namespaces.serve(segment.neighbour, "udp", "0.0.0.0", 53)
    assert ask(pid2, "tcp", containers.address(first, "apart"), 80, 0.3).startswith("error")
    assert ask(pid2, "udp", "192.0.2.9", 53).startswith("hi ")


async def test_a_link_opens_what_is_exposed_without_icc(
    make_networks: Any, namespaces: Namespaces
) -> None:
    networks: Networks = make_networks(icc=False)
    await networks.start()
    await reconcile(networks, {})
    containers = Containers(networks, namespaces)
    server = containers.create("db", config={"ExposedPorts": {"80/tcp": {}}})
    pid = await containers.start(server)
    for port in (80, 81):
        namespaces.serve(pid, "tcp", "0.0.0.0", port)
    linked, client = await containers.run(Links=["db:store"])
    _, stranger = await containers.run()
    address = containers.address(server)
    assert ask(client, "tcp", address, 80) == f"hi {containers.address(linked)}"
    assert ask(client, "tcp", address, 81, 0.3).startswith("error")
    assert ask(stranger, "tcp", address, 80, 0.3).startswith("error")
    await networks._load_firewall()  # as after a restart
    assert ask(client, "tcp", address, 80).startswith("hi ")
    await networks.detach(linked)
    assert ask(client, "tcp", address, 80, 0.3).startswith("error")
    await reconcile(networks, {})
    await networks.close()


async def test_host_binding_option_limits_published_ports(
    networks: Networks, containers: Containers
) -> None:
    options = {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}
    await networks.create({"Name": "local", "Options": options})
    identity, _ = await containers.run(
        NetworkMode="local", PortBindings={"80/tcp": [{"HostPort": "8080"}]}
    )
    assert networks.settings(identity)["Ports"]["80/tcp"] == [
        {"HostIp": "127.0.0.1", "HostPort": "8080"}
    ]


async def test_remove_and_prune(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create({"Name": "used"})
    await networks.create({"Name": "unused"})
    identity, pid = await containers.run("c", NetworkMode="used")
    with pytest.raises(Forbidden, match=r'network used has active endpoints \(name:"c" id:"'):
        await networks.remove("used")
    for name in ("bridge", "host", "none"):
        with pytest.raises(Forbidden, match="is a pre-defined network and cannot be removed"):
            await networks.remove(name)
    assert await networks.prune() == ["unused"]
    namespaces.end(pid)
    await networks.detach(identity)
    networks.forget(identity)
    await networks.remove("used")
    with pytest.raises(NotFound, match="network used not found"):
        networks.inspect("used")
    assert "br-" not in inside(segment.host, "ip", "-br", "link")
    assert "br-" not in inside(segment.host, "nft", "list", "ruleset")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"Name": "bridge"}, Forbidden, "operation is not permitted on predefined bridge network"),
        ({"Name": "net"}, Conflict, "network with name net already exists"),
        ({"Name": "x", "Driver": "nope"}, NotFound, 'plugin "nope" not found'),
        ({"Name": "x", "Driver": "host"}, Forbidden, 'only one instance of "host" network'),
        (
            {"Name": "x", "IPAM": {"Config": [{"Subnet": "172.18.0.0/24"}]}},
            Forbidden,
            "Pool overlaps with other one on this address space",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.driver.mtu": "x"}},
            InvalidParameter,
            "driver.mtu",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.name": "0123456789abcdef"}},
            InvalidParameter,
            "invalid bridge name",
        ),
        (
            {"Name": "x", "Options": {"com.docker.network.bridge.name": "lan0"}},
            Conflict,
            "lan0 exists and is no bridge",
        ),
    ],
)
async def test_refused_networks_leave_nothing(
    networks: Networks, segment: Segment, body: dict[str, Any], kind: type, message: str
) -> None:
    await networks.create({"Name": "net"})
    before = (networks.list(), inside(segment.host, "ip", "-br", "link"))
    with pytest.raises(kind, match=re.escape(message)):
        await networks.create(body)
    assert (networks.list(), inside(segment.host, "ip", "-br", "link")) == before


async def test_an_exhausted_network_refuses_and_recovers(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    await networks.create({"Name": "tiny", "IPAM": {"Config": [{"Subnet": "10.6.0.0/30"}]}})
    first, pid = await containers.run(NetworkMode="tiny")
    second = containers.create(NetworkMode="tiny")
    with pytest.raises(
        Conflict, match="no available IPv4 addresses on this network's address pools"
    ):
        networks.allocate(second)
    namespaces.end(pid)
    await networks.detach(first)
    await containers.start(second)
    assert containers.address(second, "tiny") == "10.6.0.2"


async def test_macvlan_containers_are_neighbours_on_the_segment(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create(
        {
            "Name": "lan",
            "Driver": "macvlan",
            "Options": {"parent": "lan0"},
            "IPAM": {
                "Config": [
                    {"Subnet": "192.0.2.0/24", "IPRange": "192.0.2.64/27", "Gateway": "192.0.2.9"}
                ]
            },
        }
    )
    first, pid1 = await containers.run(NetworkMode="lan")
    _, pid2 = await containers.run(NetworkMode="lan")
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    namespaces.serve(segment.neighbour, "udp", "0.0.0.0", 53)
    assert ask(pid2, "tcp", containers.address(first, "lan"), 80) == "hi 192.0.2.65"
    assert ask(pid1, "udp", "192.0.2.9", 53) == "hi 192.0.2.64"
    assert ask(segment.neighbour, "tcp", "192.0.2.64", 80) == "hi 192.0.2.9"


async def test_macvlan_without_parent_is_internal(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    identity = (await networks.create({"Name": "alone", "Driver": "macvlan"}))["Id"]
    first, pid1 = await containers.run(NetworkMode="alone")
    _, pid2 = await containers.run(NetworkMode="alone")
    namespaces.serve(pid1, "tcp", "0.0.0.0", 80)
    assert ask(pid2, "tcp", containers.address(first, "alone"), 80).startswith("hi ")
    assert identity[:12] in inside(segment.host, "ip", "-br", "link")


async def test_events_are_told(make_networks: Any, namespaces: Namespaces) -> None:
    told: list[tuple[str, str]] = []
    networks: Networks = make_networks(
        on_event=lambda action, network, attributes: told.append((action, attributes["name"]))
    )
    await networks.start()
    await reconcile(networks, {})
    await networks.create({"Name": "net"})
    identity, _ = await Containers(networks, namespaces).run(NetworkMode="net")
    await networks.detach(identity)
    await networks.remove("net")
    assert told == [
        ("create", "net"),
        ("connect", "net"),
        ("disconnect", "net"),
        ("destroy", "net"),
    ]
    await networks.close()
    await asyncio.sleep(0)
