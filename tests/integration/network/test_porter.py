"""The porter under load and under fire: everybody's names and ports hang on it."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.integration.network.test_published_ports import bindings, porter_pid, restarted
from tests.netlab import Containers, Namespaces, Segment, ask, inside

from wherry.network.networks import Networks

_ECHO = """
import selectors, socket
ready = selectors.DefaultSelector()
def read(one):
    data = one.recv(1000)
    if data:
        one.sendall(data)
    else:
        ready.unregister(one)
        one.close()
def accept(one):
    peer, _ = one.accept()
    ready.register(peer, selectors.EVENT_READ, read)
server = socket.create_server(("0.0.0.0", 80), backlog=4096)
ready.register(server, selectors.EVENT_READ, accept)
print(flush=True)
while True:
    for key, _ in ready.select():
        key.data(key.fileobj)
"""


def echo(namespaces: Namespaces, pid: int) -> None:
    """A server on port 80 inside the namespace of ``pid`` that says what it heard."""
    namespaces.run("nsenter", "--net", "--target", str(pid), "python3", "-S", "-c", _ECHO)


def heard(client: socket.socket, said: bytes) -> bytes:
    client.sendall(said)
    return client.recv(100)


@contextlib.contextmanager
def porter_with_limit(networks: Networks, limit: int) -> Iterator[None]:
    """A porter that may open at most ``limit`` files; the networks find it as one that runs."""
    path = os.path.join(networks._options.runtime_directory, "porter.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        control.bind(path)
        control.listen()
        fd = control.fileno()
        shell = f"ulimit -n {limit}; exec {sys.executable} -I -m wherry.network.porter {fd} {path}"
        process = subprocess.Popen(["sh", "-c", shell], pass_fds=(fd,))
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open as many files as it can."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(("limit", "clients"), [(256, 400), (20_000, 4500)])
async def test_a_flooded_port_takes_neither_names_nor_other_connections(
    networks: Networks,
    containers: Containers,
    namespaces: Namespaces,
    segment: Segment,
    many_files: None,
    limit: int,
    clients: int,
) -> None:
    await networks.create({"Name": "net"})
    with porter_with_limit(networks, limit), contextlib.ExitStack() as opened:
        identities = []
        pids = []
        for number, name in enumerate(("web", "other")):
            published = bindings(tcp80=f"127.0.0.1:{8080 + number}")
            identity, pid = await containers.run(name, NetworkMode="net", PortBindings=published)
            identities.append(identity)
            pids.append(pid)
        web, other = pids
        echo(namespaces, web)
        echo(namespaces, other)
        porter = porter_pid(networks)

        def connect(port: int) -> socket.socket:
            return opened.enter_context(socket.create_connection(("127.0.0.1", port), 20))

        established = connect(8081)
        assert heard(established, b"first") == b"first"
        flood = [connect(8080) for _ in range(clients)]
        assert heard(flood[0], b"flood") == b"flood"
        assert heard(established, b"second") == b"second"
        assert heard(connect(8081), b"new") == b"new"
        assert names(other) == "web"
        last = flood.pop()
        for client in flood:
            client.close()
        # It has waited in the kernel's queue if there was no room.
        assert heard(last, b"last") == b"last"
        assert porter_pid(networks) == porter
        for identity in identities:
            await networks.detach(identity)


def names(pid: int) -> str:
    """The question for the container ``web`` answered by the name server in a namespace."""
    return inside(pid, "python3", "-S", "-c", _ASK)


_ASK = """
import socket, struct
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(20)
asker.connect(("127.0.0.11", 53))
asker.send(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\\x03web\\0\\0\\x01\\0\\x01")
answer = asker.recv(1000)
print("web" if answer[3] & 15 == 0 and answer[7] == 1 else answer.hex(), end="")
"""


async def test_names_that_fill_more_than_a_packet(
    networks: Networks, containers: Containers
) -> None:
    await networks.create({"Name": "net"})
    _, asker = await containers.run("asker", NetworkMode="net")
    porter = porter_pid(networks)
    aliases = [f"{number:04}" + "x" * 50 for number in range(2000)] + ["web"]
    named = containers.create(endpoints={"net": {"Aliases": aliases}}, NetworkMode="net")
    await containers.start(named)
    assert names(asker) == "web"
    assert porter_pid(networks) == porter


async def test_a_porter_that_dies_with_unread_orders_is_replaced(
    networks: Networks,
    containers: Containers,
    namespaces: Namespaces,
    segment: Segment,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, pid = await containers.run(PortBindings=bindings(tcp80="127.0.0.1:8080"))
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    await networks.create({"Name": "net"})
    unread, _ = await containers.run(NetworkMode="net")
    porter = porter_pid(networks)
    os.kill(porter, signal.SIGSTOP)
    networks.rename(unread, "renamed")
    await networks.sandboxes._worker.run(lambda: None)  # it has been sent
    os.kill(porter, signal.SIGKILL)
    await restarted(networks, porter)
    await networks.sandboxes._worker.run(lambda: None)
    assert ask(segment.host, "tcp", "127.0.0.1", 8080).startswith("hi ")
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_a_start_that_finds_the_porter_dead_publishes_all_the_same(
    networks: Networks, containers: Containers, namespaces: Namespaces, segment: Segment
) -> None:
    _, pid = await containers.run(PortBindings=bindings(tcp80="127.0.0.1:8080"))
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    second = containers.create(PortBindings=bindings(tcp80="127.0.0.1:8081"))
    plan = networks.allocate(second)
    pid = namespaces.make()
    namespaces.serve(pid, "tcp", "0.0.0.0", 80)
    os.kill(porter_pid(networks), signal.SIGKILL)
    await networks.attach(plan, pid)
    for port in (8080, 8081):
        assert ask(segment.host, "tcp", "127.0.0.1", port).startswith("hi ")


async def test_an_engine_that_comes_when_the_porter_just_leaves(
    make_networks: Callable[..., Networks], namespaces: Namespaces, segment: Segment
) -> None:
    for _ in range(5):
        networks = make_networks()
        await networks.start()
        await networks.take_stock({})
        containers = Containers(networks, namespaces)
        identity, pid = await containers.run(PortBindings=bindings(tcp80="127.0.0.1:8080"))
        namespaces.serve(pid, "tcp", "0.0.0.0", 80)
        assert ask(segment.host, "tcp", "127.0.0.1", 8080).startswith("hi ")
        await networks.detach(identity)
        await networks.close()  # it holds nothing: it leaves
