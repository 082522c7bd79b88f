"""A container that ends, or has just ended: its address, its ports, its network calls."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket

import pytest
from tests.integration.network.test_published_ports import bindings, porter_pid
from tests.netlab import Containers, Namespaces, Segment, ask, inside

from wherry.network import netlink, wiring
from wherry.network.netlink import LinkWatch
from wherry.network.netns import NamespaceGone, entered, open_namespace
from wherry.network.networks import Networks

_TRIES = 10


@pytest.mark.parametrize(
    ("driver", "options"),
    [("bridge", {}), ("macvlan", {}), ("macvlan", {"parent": "lan0"})],
)
async def test_the_dead_do_not_answer_for_their_address(
    networks: Networks,
    containers: Containers,
    namespaces: Namespaces,
    segment: Segment,
    driver: str,
    options: dict[str, str],
) -> None:
    await networks.create(
        {
            "Name": "net",
            "Driver": driver,
            "Options": options,
            "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]},
        }
    )
    _, asker = await containers.run(NetworkMode="net")
    identity, pid = await containers.run(NetworkMode="net")
    address = containers.address(identity, "net")
    with wiring.namespace_of(pid) as namespace, entered(namespace):
        ghost = socket.create_server((address, 80))
    # It keeps the namespace alive as a connection does that is still being closed, and the
    # asker's neighbour cache knows it.
    with ghost:
        ask(asker, "tcp", address, 81, wait=0.5)
        namespaces.end(pid)
        await networks.detach(identity)
        follower, pid = await containers.run(NetworkMode="net")
        assert containers.address(follower, "net") == address
        namespaces.serve(pid, "tcp", "0.0.0.0", 80, "alive")
        for _ in range(_TRIES):
            assert ask(asker, "tcp", address, 80).startswith("alive ")
        ghost.setblocking(False)
        with pytest.raises(BlockingIOError):
            ghost.accept()


async def test_a_number_of_a_namespace_that_is_gone_reaches_no_other(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    await networks.create({"Name": "net", "Driver": "macvlan"})
    ended, pid = await containers.run(NetworkMode="net")
    namespaces.end(pid)
    _, follower = await containers.run(NetworkMode="net")
    await networks.detach(ended)
    assert "eth0" in inside(follower, "ip", "-o", "link")


async def test_a_port_is_free_as_soon_as_its_container_is_detached(
    networks: Networks, containers: Containers
) -> None:
    identity, _ = await containers.run(PortBindings=bindings(tcp80=":8080", udp53=":5353"))
    porter = porter_pid(networks)
    os.kill(porter, signal.SIGSTOP)  # as on a busy machine
    detaching = asyncio.create_task(networks.detach(identity))
    await asyncio.wait({detaching}, timeout=0.2)
    waited = not detaching.done()
    os.kill(porter, signal.SIGCONT)
    await detaching
    assert waited
    again = containers.create(PortBindings=bindings(tcp80=":8080", udp53=":5353"))
    await containers.start(again)


async def test_connect_and_disconnect_while_the_container_ends(
    networks: Networks, containers: Containers, namespaces: Namespaces
) -> None:
    await networks.create({"Name": "one"})
    await networks.create({"Name": "two"})
    identity, pid = await containers.run(
        NetworkMode="one", PortBindings=bindings(tcp80="127.0.0.1:8080")
    )
    namespaces.end(pid)
    await networks.connect("two", identity)
    await networks.disconnect("one", identity)
    networks.rename(identity, "renamed")
    await networks.detach(identity)
    assert list(networks.settings(identity)["Networks"]) == ["two"]
    assert not networks.inspect("two")["Containers"]
    await containers.start(identity)
    assert containers.address(identity, "two")


def test_a_number_that_went_to_a_process_of_the_host_is_no_container() -> None:
    with pytest.raises(NamespaceGone):
        open_namespace(os.getpid())
    with pytest.raises(NamespaceGone):
        open_namespace(2**22 + 1)


async def test_a_bridge_is_made_again_while_a_container_ends(
    networks: Networks,
    containers: Containers,
    namespaces: Namespaces,
    segment: Segment,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended, pid = await containers.run()
    stays, other = await containers.run()
    namespaces.serve(other, "tcp", "0.0.0.0", 80)
    namespaces.end(pid)
    bridge = networks.inspect("bridge")["Options"]["com.docker.network.bridge.name"]
    inside(segment.host, "ip", "link", "delete", bridge)
    for _ in range(200):
        await asyncio.sleep(0.05)
        if "made again" in caplog.text:
            break
    assert ask(segment.host, "tcp", containers.address(stays), 80).startswith("hi ")
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    await networks.detach(ended)


def test_a_burst_of_links_is_heard_whole(segment: Segment) -> None:
    watch = LinkWatch()
    with netlink.RouteSocket() as route:
        route.run([netlink.add_bridge("burst")])
        index = route.link("burst").index  # type: ignore[union-attr]
        for number in range(1000):
            route.run([netlink.set_link(index, "burst", up=number % 2 == 0)])
        route.run([netlink.delete_link("burst")])
    assert watch.deleted() == {"burst"}
    watch.close()
