"""Published ports: from everywhere they were published to, in every form, and conflicts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

import pytest
from tests.netlab import Containers, Namespaces, Segment, ask, inside, reconcile

from wherry.errors import WherryError
from wherry.network.networks import Networks
from wherry.network.porter import packets


def bindings(**places: str) -> dict[str, list[dict[str, str]]]:
    """``tcp80="192.0.2.2:8080"`` as PortBindings."""
    found = {}
    for key, place in places.items():
        address, _, port = place.rpartition(":")
        found[f"{key[3:]}/{key[:3]}"] = [{"HostIp": address, "HostPort": port}]
    return found


@pytest.fixture
async def web(containers: Containers, namespaces: Namespaces) -> tuple[str, int]:
    """A container that serves TCP 80 and UDP 53, published as 8080 and 5353."""
    identity, pid = await containers.run("web", PortBindings=bindings(tcp80=":8080", udp53=":5353"))
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    namespaces.serve(pid, "udp", "0.0.0.0", 53)
    return identity, pid


async def test_from_outside_the_source_address_is_kept(
    web: tuple[str, int], segment: Segment
) -> None:
    assert ask(segment.neighbour, "tcp", "192.0.2.2", 8080) == "hi 192.0.2.9"
    assert ask(segment.neighbour, "udp", "192.0.2.2", 5353) == "hi 192.0.2.9"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "192.0.2.2", "172.17.0.1"])
@pytest.mark.parametrize(("protocol", "port"), [("tcp", 8080), ("udp", 5353)])
async def test_from_the_host(
    web: tuple[str, int], segment: Segment, address: str, protocol: str, port: int
) -> None:
    assert ask(segment.host, protocol, address, port).startswith("hi ")


async def test_over_ipv6_to_a_container_without_ipv6(
    web: tuple[str, int], segment: Segment
) -> None:
    assert ask(segment.neighbour, "tcp", "fd00:2::2", 8080) == "hi 172.17.0.1"


async def test_from_other_containers_and_from_itself(
    web: tuple[str, int], containers: Containers, networks: Networks
) -> None:
    _, same = await containers.run()
    await networks.create({"Name": "other"})
    _, other = await containers.run(NetworkMode="other")
    for pid in (web[1], same, other):
        assert ask(pid, "tcp", "192.0.2.2", 8080).startswith("hi ")
        assert ask(pid, "udp", "172.17.0.1", 5353).startswith("hi ")


async def test_large_transfers_pass_the_relay(
    containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    _, pid = await containers.run(PortBindings=bindings(tcp80="127.0.0.1:8080"))
    namespaces.run(
        *("nsenter", "--net", "--target", str(pid), "python3", "-S", "-c"),
        "import socket\n"
        "s = socket.create_server(('0.0.0.0', 80))\nprint(flush=True)\n"
        "while True:\n"
        "    c, _ = s.accept()\n    data = b''\n"
        "    while part := c.recv(65536): data += part\n"
        "    c.sendall(data[::-1]); c.close()",
    )
    payload = os.urandom(3_000_000)

    def echo() -> bytes:
        with socket.create_connection(("127.0.0.1", 8080), timeout=5) as peer:
            peer.sendall(payload)
            peer.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: peer.recv(1 << 16), b""))

    assert await asyncio.to_thread(echo) == payload[::-1]


async def test_views_show_the_places(web: tuple[str, int], networks: Networks) -> None:
    ports = networks.settings(web[0])["Ports"]
    assert ports["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "8080"},
        {"HostIp": "::", "HostPort": "8080"},
    ]


async def test_a_port_of_another_container_is_a_conflict(
    web: tuple[str, int], containers: Containers, networks: Networks
) -> None:
    identity = containers.create("second", PortBindings=bindings(tcp80="127.0.0.1:8080"))
    with pytest.raises(WherryError) as caught:
        networks.allocate(identity)
    text = str(caught.value)
    assert text.startswith("driver failed programming external connectivity on endpoint second (")
    assert text.endswith("): Bind for 127.0.0.1:8080 failed: port is already allocated")
    assert networks.settings(identity)["Networks"]["bridge"]["IPAddress"] == ""


async def test_a_port_of_a_program_is_a_conflict(
    containers: Containers, networks: Networks, namespaces: Namespaces, segment: Segment
) -> None:
    namespaces.serve(segment.host, "tcp", "192.0.2.2", 8080)
    identity = containers.create(PortBindings=bindings(tcp80=":8080"))
    with pytest.raises(WherryError, match="address already in use"):
        networks.allocate(identity)


async def test_a_range_and_ephemeral_ports(
    containers: Containers, networks: Networks, web: tuple[str, int], segment: Segment
) -> None:
    identity, _ = await containers.run(
        config={"ExposedPorts": {"81/tcp": {}, "82/tcp": {}}},
        PortBindings={"80/tcp": [{"HostPort": "8080-8082"}], "81/tcp": []},
        PublishAllPorts=True,
    )
    ports = networks.settings(identity)["Ports"]
    assert ports["80/tcp"][0]["HostPort"] == "8081"
    assert {place["HostIp"] for place in ports["82/tcp"]} == {"0.0.0.0", "::"}
    assert int(ports["81/tcp"][0]["HostPort"]) >= 1024


async def test_the_port_is_taken_on_the_host_and_free_afterwards(
    web: tuple[str, int], networks: Networks, namespaces: Namespaces, segment: Segment
) -> None:
    with pytest.raises(OSError), socket.socket() as rival:
        rival.bind(("0.0.0.0", 8080))
    namespaces.end(web[1])
    await networks.detach(web[0])
    with socket.socket() as rival:
        rival.bind(("0.0.0.0", 8080))
    assert "8080" not in inside(segment.host, "nft", "list", "ruleset")


async def test_dual_stack_publishes_over_ipv6_directly(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    await networks.create({"Name": "dual", "EnableIPv6": True})
    _, pid = await containers.run(NetworkMode="dual", PortBindings=bindings(tcp80=":8080"))
    namespaces.serve(pid, "tcp", "::", 80)
    assert ask(segment.neighbour, "tcp", "fd00:2::2", 8080) == "hi fd00:2::9"
    assert ask(segment.host, "tcp", "::1", 8080).startswith("hi ")


async def test_a_udp_sender_that_never_pauses_meets_a_new_port(
    containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0.2)
        sender.sendto(b"before", ("192.0.2.2", 5353))  # tracked without a rule
        _, pid = await containers.run(PortBindings=bindings(udp53=":5353"))
        namespaces.serve(pid, "udp", "0.0.0.0", 53)
        sender.sendto(b"after", ("192.0.2.2", 5353))
        for _ in range(2):  # the first error is that of the first packet
            try:
                assert sender.recv(100).startswith(b"hi 192.0.2.2")
                break
            except ConnectionRefusedError:
                continue


async def test_sctp_is_led_to_the_container(
    networks: Networks, containers: Containers, segment: Segment
) -> None:
    await containers.run(PortBindings={"9/sctp": [{"HostPort": "9999"}]})
    assert "sctp . 9999 : 172.17.0.2 . 9" in inside(segment.host, "nft", "list", "ruleset")


async def test_a_killed_porter_comes_back_with_all_it_held(
    web: tuple[str, int], networks: Networks, segment: Segment
) -> None:
    porter = porter_pid(networks)
    os.kill(porter, signal.SIGKILL)
    await restarted(networks, porter)
    await networks.sandboxes._worker.run(lambda: None)  # it has been given everything
    assert ask(segment.host, "tcp", "127.0.0.1", 8080).startswith("hi ")
    assert ask(segment.host, "udp", "::1", 5353).startswith("hi ")


async def test_ports_go_on_without_a_daemon_and_are_adopted(
    make_networks: Callable[..., Networks], namespaces: Namespaces, segment: Segment
) -> None:
    first = make_networks()
    await first.start()
    await reconcile(first, {})
    containers = Containers(first, namespaces)
    kept, pid = await containers.run(PortBindings=bindings(tcp80=":8080"))
    ended, _ = await containers.run(PortBindings=bindings(tcp80=":8081"))
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    porter = porter_pid(first)
    await first.close()
    assert ask(segment.host, "tcp", "127.0.0.1", 8080).startswith("hi ")

    second = make_networks()
    await second.start()
    await reconcile(second, {kept: pid})
    assert porter_pid(second) == porter
    assert ask(segment.host, "tcp", "127.0.0.1", 8080).startswith("hi ")
    with socket.socket() as free:
        free.bind(("0.0.0.0", 8081))
    await second.detach(kept)
    await second.detach(ended)
    await second.close()
    for _ in range(400):
        await asyncio.sleep(0.05)
        if not os.path.exists(f"/proc/{porter}"):
            break
        with open(f"/proc/{porter}/stat") as stat:
            if stat.read().split()[2] == "Z":
                break
    else:
        raise AssertionError("the porter stayed although it held nothing")


def porter_pid(networks: Networks) -> int:
    """The process that listens for daemons of these networks: it answers, so it does run."""
    path = os.path.join(networks._options.runtime_directory, "porter.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.settimeout(20)
        asker.connect(path)
        packets.send(asker, {"do": "report", "brief": True})
        answer, _ = packets.receive(asker)
    return int(answer["pid"])


async def restarted(networks: Networks, before: int) -> None:
    """Wait until another porter runs."""
    while True:
        with contextlib.suppress(OSError, EOFError):  # it is just being started
            if porter_pid(networks) != before:
                return
        await asyncio.sleep(0.01)
