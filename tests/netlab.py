"""Real network namespaces for tests: stand-ins for containers, hosts and neighbours.

The engine runs in a network namespace of its own, so that tests see nothing of the machine's
networks and the machine sees nothing of theirs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from wherry.instance import Instance
from wherry.network.netns import entered
from wherry.network.networks import Networks
from wherry.network.options import NetworkOptions
from wherry.network.requests import sandbox_config
from wherry.storage.statedb import StateDB

_SLEEPER = "import time; print(flush=True); time.sleep(600)"


class Namespaces:
    """Processes in network namespaces of their own, ended with the test."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[str]] = {}

    def make(self) -> int:
        """The pid of a process in a new network namespace."""
        return self.run("unshare", "--net", sys.executable, "-S", "-c", _SLEEPER)

    def serve(self, pid: int, protocol: str, address: str, port: int, answer: str = "hi") -> int:
        """A server inside the namespace of ``pid`` that answers with ``answer`` and the peer."""
        return self.run(
            *_inside(pid), sys.executable, "-S", "-c", _SERVER, protocol, address, str(port), answer
        )

    def run(self, *command: str) -> int:
        """Start a command that prints a line when it is ready; returns its pid."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        self._processes[process.pid] = process
        return process.pid

    def end(self, pid: int) -> None:
        process = self._processes.pop(pid)
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

    def close(self) -> None:
        for pid in list(self._processes):
            self.end(pid)


_SERVER = """
import socket, sys
protocol, address, port, answer = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
server = socket.socket(family, kind, 132 if protocol == "sctp" else 0)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((address, int(port)))
if protocol != "udp":
    server.listen(16)
print(flush=True)
while True:
    if protocol != "udp":
        peer, where = server.accept()
        data = peer.recv(1000)
        peer.sendall(f"{answer} {where[0]}".encode())
        peer.close()
    else:
        data, where = server.recvfrom(1000)
        server.sendto(f"{answer} {where[0]}".encode(), where)
"""

_CLIENT = """
import socket, sys
protocol, address, port, wait = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
peer = socket.socket(family, kind, 132 if protocol == "sctp" else 0)
peer.settimeout(float(wait))
try:
    peer.connect((address, int(port)))
    peer.sendall(b"x")
    print(peer.recv(1000).decode(), end="")
except OSError as error:
    print(f"error {type(error).__name__}", end="")
"""


def _inside(pid: int) -> tuple[str, ...]:
    return ("nsenter", "--net", "--target", str(pid))


def inside(pid: int, *command: str) -> str:
    """What a command in the network namespace of ``pid`` prints."""
    done = subprocess.run(
        [*_inside(pid), *command], capture_output=True, text=True, timeout=20, check=False
    )
    return done.stdout + done.stderr


def ask(pid: int, protocol: str, address: str, port: int, wait: float = 4.0) -> str:
    """What a server answers to a client in the namespace of ``pid``, or "error" and why."""
    return inside(pid, sys.executable, "-S", "-c", _CLIENT, protocol, address, str(port), str(wait))


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    made = Namespaces()
    yield made
    made.close()


class Segment:
    """The engine's host and a neighbour on one network segment, 192.0.2.0/24 and fd00:2::/64."""

    def __init__(self, host: int, neighbour: int) -> None:
        self.host = host
        self.neighbour = neighbour
        inside(
            host,
            "ip",
            "link",
            "add",
            "lan0",
            "type",
            "veth",
            "peer",
            "lan0",
            "netns",
            str(neighbour),
        )
        for pid, number in ((host, 2), (neighbour, 9)):
            inside(pid, "ip", "link", "set", "lo", "up")
            inside(pid, "ip", "address", "add", f"192.0.2.{number}/24", "dev", "lan0")
            inside(pid, "ip", "address", "add", f"fd00:2::{number}/64", "dev", "lan0", "nodad")
            inside(pid, "ip", "link", "set", "lan0", "up")
        inside(host, "ip", "route", "add", "default", "via", "192.0.2.9")


@pytest.fixture
def segment(namespaces: Namespaces) -> Iterator[Segment]:
    """The test's thread lives on the segment's host while the test runs."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Segment(namespaces.make(), namespaces.make())
    with open(f"/proc/{made.host}/ns/net") as namespace, entered(namespace.fileno()):
        yield made


@pytest.fixture
def make_networks(tmp_path: Path, segment: Segment) -> Callable[..., Networks]:
    """A function that makes the networks of an engine on the segment's host."""

    def make(name: str = "engine", **options: object) -> Networks:
        folder = tmp_path / name
        (folder / "containers").mkdir(parents=True, exist_ok=True)
        (folder / "run").mkdir(exist_ok=True)
        return Networks(
            StateDB(str(folder / "state.db")),
            Instance.of_data_root(str(folder), "/var/lib/wherry"),
            NetworkOptions(
                containers_directory=str(folder / "containers"),
                runtime_directory=str(folder / "run"),
                **options,  # type: ignore[arg-type]
            ),
        )

    return make


async def reconcile(networks: Networks, live: Mapping[str, int]) -> None:
    """What an engine does after a restart, here in the same process.

    ``live``: container id → pid of the init of those that run.
    """
    await networks.repair()
    await networks._load_firewall()
    await networks.take_stock(live)
    for container, pid in live.items():
        await networks.mend(container, pid)


@pytest.fixture
async def networks(make_networks: Callable[..., Networks]) -> AsyncIterator[Networks]:
    made = make_networks()
    await made.start()
    await reconcile(made, {})
    yield made
    await reconcile(made, {})  # nothing runs any more: the porter holds nothing and ends
    await made.close()


class Containers:
    """Starts namespaces as containers of ``networks``."""

    def __init__(self, networks: Networks, namespaces: Namespaces) -> None:
        self._networks = networks
        self._namespaces = namespaces
        self._count = 0

    def create(
        self,
        name: str = "",
        config: dict[str, object] | None = None,
        endpoints: dict[str, object] | None = None,
        **host_config: object,
    ) -> str:
        """Configure a container and return its id."""
        self._count += 1
        identity = f"{self._count:012x}".ljust(64, "c")
        self._networks.configure(
            sandbox_config(
                identity,
                name or f"c{self._count}",
                config or {},
                host_config,
                {"EndpointsConfig": endpoints or {}},
            )
        )
        return identity

    async def start(self, identity: str) -> int:
        """Start a configured container and return its pid."""
        plan = self._networks.allocate(identity)
        pid = self._namespaces.make()
        await self._networks.attach(plan, pid)
        return pid

    async def run(self, name: str = "", **host_config: object) -> tuple[str, int]:
        """A running container: (id, pid)."""
        identity = self.create(name, **host_config)  # type: ignore[arg-type]
        return identity, await self.start(identity)

    def address(self, identity: str, network: str = "bridge", version: int = 4) -> str:
        """The container's address in a network."""
        settings = self._networks.settings(identity)["Networks"][network]
        return str(settings["IPAddress" if version == 4 else "GlobalIPv6Address"])


@pytest.fixture
def containers(networks: Networks, namespaces: Namespaces) -> Containers:
    return Containers(networks, namespaces)
