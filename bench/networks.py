"""What is measured of networks: throughput by iperf3, and what a network adds to a start."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from .engines import EngineUnderTest

OTHER_NETWORKS = 100
THROUGHPUT_SECONDS = 3
PORT = 18201
_PROGRAMS = (
    *("-v", "/usr:/usr:ro", "-v", "/usr/lib:/lib:ro", "-v", "/usr/lib64:/lib64:ro"),
    "busybox",
)
_IPERF = "/usr/bin/iperf3"


def _run_ms(engine: EngineUnderTest, network: str) -> float:
    started = time.perf_counter()
    engine.docker("run", "--rm", "--network", network, "busybox", "true")
    return 1000 * (time.perf_counter() - started)


def bridge_over_none(engine: EngineUnderTest, images: Path) -> float:
    """What the default bridge adds to docker run, in ms, from a pair of runs."""
    return _run_ms(engine, "bridge") - _run_ms(engine, "none")


def own_over_none(engine: EngineUnderTest, images: Path) -> float:
    """What a network with a name server adds to docker run, in ms, from a pair of runs."""
    engine.docker("network", "create", "bench-own", check=False)
    return _run_ms(engine, "bench-own") - _run_ms(engine, "none")


def network_among_many(engine: EngineUnderTest, images: Path) -> float:
    """docker network create where a hundred others are, in ms; the first call makes these."""
    if engine.docker("network", "inspect", "bench-0", check=False).returncode:
        for number in range(OTHER_NETWORKS):
            subnet = f"10.77.{number}.0/24"
            engine.docker("network", "create", "--subnet", subnet, f"bench-{number}")
    started = time.perf_counter()
    engine.docker("network", "create", "--subnet", "10.78.0.0/24", "bench-more")
    figure = 1000 * (time.perf_counter() - started)
    engine.docker("network", "rm", "bench-more")
    return figure


def _server(engine: EngineUnderTest) -> str:
    """The address of a running iperf3 server; the first call starts it."""
    shown = ("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "bench-iperf")
    if engine.docker(*shown, check=False).returncode:
        flags = ("--name", "bench-iperf", "-p", f"{PORT}:5201")
        engine.docker("run", "-d", *flags, *_PROGRAMS, _IPERF, "-s")
        time.sleep(1)
    return engine.docker(*shown).stdout.decode().strip()


def _gigabits(report: bytes) -> float:
    return float(json.loads(report)["end"]["sum_received"]["bits_per_second"]) / 1e9


def _client(address: str, port: int) -> tuple[str, ...]:
    return (_IPERF, "-J", "-t", str(THROUGHPUT_SECONDS), "-c", address, "-p", str(port))


def between_containers(engine: EngineUnderTest, images: Path) -> float:
    """TCP from one container to another on the bridge, in Gbit/s."""
    client = _client(_server(engine), 5201)
    return _gigabits(engine.docker("run", "--rm", *_PROGRAMS, *client).stdout)


def through_published_port(engine: EngineUnderTest, images: Path) -> float:
    """TCP from a container to a published port of its neighbour (hairpin), in Gbit/s."""
    _server(engine)
    gateway = ("inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge")
    address = engine.docker("network", *gateway).stdout.decode().strip() or "172.17.0.1"
    client = _client(address, PORT)
    return _gigabits(engine.docker("run", "--rm", *_PROGRAMS, *client).stdout)


def over_loopback(engine: EngineUnderTest, images: Path) -> float:
    """TCP from the host's 127.0.0.1 to a published port, in Gbit/s."""
    _server(engine)
    enter = ("nsenter", "--net", "--target", str(engine.daemon.pid))
    done = subprocess.run([*enter, *_client("127.0.0.1", PORT)], capture_output=True, check=True)
    return _gigabits(done.stdout)
