"""What is measured: each case takes one engine and returns one figure.

Engines take turns, so that whatever else the machine does hits both alike; a turn is a few
measurements in a row, as a person or a script would work with one engine.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import networks, scale
from .builds import cached, cold
from .engines import EngineUnderTest
from .registry import (
    load_large_file,
    load_many_files,
    memory_of_large_file,
    pull_debian,
    push_debian,
)

CLIENTS = 8
CONTAINERS_OF_EIGHT_CLIENTS = 40
IDLE_CONTAINERS = 10
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Case:
    """One row of the table: the median of ``turns`` × ``in_a_row`` figures in ``unit``."""

    name: str
    unit: str
    turns: int
    in_a_row: int
    measure: Callable[[EngineUnderTest, Path], float]


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of ``work`` in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run_bridge(engine: EngineUnderTest, images: Path) -> float:
    """docker run --rm on the default bridge, in ms."""
    return 1000 * seconds(lambda: engine.docker("run", "--rm", "busybox", "true"))


def run_none(engine: EngineUnderTest, images: Path) -> float:
    """docker run --rm without a network, in ms."""
    return 1000 * seconds(
        lambda: engine.docker("run", "--rm", "--network", "none", "busybox", "true")
    )


def exec_true(engine: EngineUnderTest, images: Path) -> float:
    """docker exec in a running container, in ms; the first call makes the container."""
    started = time.perf_counter()
    if engine.docker("exec", "bench-exec", "true", check=False).returncode == 0:
        return 1000 * (time.perf_counter() - started)
    engine.docker("run", "-d", "--name", "bench-exec", "busybox", "sleep", "100000")
    return 1000 * seconds(lambda: engine.docker("exec", "bench-exec", "true"))


def eight_clients(engine: EngineUnderTest, images: Path) -> float:
    """Containers a second that 8 clients run and remove on the bridge."""

    def one(_: int) -> None:
        engine.docker("run", "--rm", "busybox", "true")

    def all_of_them() -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(one, range(CONTAINERS_OF_EIGHT_CLIENTS)))

    return CONTAINERS_OF_EIGHT_CLIENTS / seconds(all_of_them)


def memory_per_container(engine: EngineUnderTest, images: Path) -> float:
    """Growth of the helpers' PSS for each idle container, in MB."""
    time.sleep(SETTLE_SECONDS)
    before = engine.pss()
    names = [f"bench-idle-{number}" for number in range(IDLE_CONTAINERS)]
    for name in names:
        engine.docker("run", "-d", "--name", name, "busybox", "sleep", "100000")
    time.sleep(SETTLE_SECONDS)
    after = engine.pss()
    engine.docker("rm", "-f", *names)
    return (after - before) / IDLE_CONTAINERS


def import_debian(engine: EngineUnderTest, images: Path) -> float:
    """docker import of a Debian root file system, in s; the image is removed again."""
    figure = seconds(lambda: engine.docker("import", str(images / "debian-root.tar"), "bench-imp"))
    engine.docker("rmi", "bench-imp")
    return figure


def load_debian(engine: EngineUnderTest, images: Path) -> float:
    """docker load of a Debian image, in s; the image is removed again."""
    figure = seconds(lambda: engine.docker("load", "-i", str(images / "debian.tar")))
    engine.docker("rmi", "debian:latest", "debian:bookworm", check=False)
    return figure


def save_debian(engine: EngineUnderTest, images: Path) -> float:
    """docker save of a Debian image, in s."""
    engine.docker("load", "-i", str(images / "debian.tar"))
    target = images / f"saved-{engine.name}.tar"
    figure = seconds(lambda: engine.docker("save", "-o", str(target), "debian"))
    target.unlink()
    engine.docker("rmi", "debian:latest", "debian:bookworm", check=False)
    return figure


CASES = (
    Case("`docker run --rm IMG true`, bridge network", "ms", 3, 12, run_bridge),
    Case("the same, `--network none`", "ms", 3, 12, run_none),
    Case("`docker exec C true`", "ms", 3, 12, exec_true),
    Case("containers a second, 8 clients, bridge", "/s", 3, 1, eight_clients),
    Case("memory per idle container (PSS of all helpers)", "MB", 1, 1, memory_per_container),
    Case("import of a Debian root", "s", 3, 1, import_debian),
    Case("load of a Debian image", "s", 3, 1, load_debian),
    Case("save of a Debian image", "s", 3, 1, save_debian),
    Case("build of seven steps", "s", 3, 2, cold("seven")),
    Case("the same, cached", "s", 3, 3, cached("seven")),
    Case("build of thirty steps", "s", 2, 1, cold("thirty")),
    Case("the same, cached", "s", 3, 3, cached("thirty")),
    Case("build of eight stages and a last one", "s", 2, 1, cold("wide")),
    Case("the same, cached", "s", 3, 3, cached("wide")),
    Case("build with 10,000 files", "s", 2, 1, cold("many")),
    Case("the same, cached", "s", 3, 2, cached("many")),
    Case("pull of a Debian image", "s", 3, 1, pull_debian),
    Case("push of a Debian image", "s", 3, 1, push_debian),
    Case("load of a layer of 10,000 files", "s", 3, 1, load_many_files),
    Case("load of a layer with a 2 GB file", "s", 2, 1, load_large_file),
    Case("the same, growth of memory at its peak", "MB", 1, 1, memory_of_large_file),
    Case("network: the default bridge adds to a run", "ms", 4, 6, networks.bridge_over_none),
    Case("network: one with names adds to a run", "ms", 4, 6, networks.own_over_none),
    Case("network: `create` among a hundred", "ms", 2, 4, networks.network_among_many),
    Case("network: TCP between containers", "Gbit/s", 3, 1, networks.between_containers),
    Case("network: TCP by a published port", "Gbit/s", 3, 1, networks.through_published_port),
    Case("network: TCP by the port on 127.0.0.1", "Gbit/s", 3, 1, networks.over_loopback),
    Case("daemon's CPU: a thousand tags, and away", "s", 1, 1, scale.cpu_of(scale.tagged)),
    Case("daemon's CPU: `create`, of 1,500", "s/100", 1, 1, scale.fill),
    Case("daemon's CPU: `ps -a` of 1,500 stopped", "s", 3, 1, scale.cpu_of(scale.listed, 10)),
    Case("daemon's CPU: `ps -as`", "s", 3, 1, scale.cpu_of(scale.listed_with_sizes, 10)),
    Case("daemon's CPU: `system df`", "s", 3, 1, scale.cpu_of(scale.disk_usage, 10)),
    Case("daemon's CPU: `create` and `start`, of 500", "s/100", 1, 1, scale.fill_running),
    Case("daemon's CPU: `ps` of 500 running", "s", 3, 1, scale.cpu_of(scale.listed_running, 10)),
    Case("daemon's CPU: `stats --no-stream` of 500", "s", 3, 1, scale.cpu_of(scale.sampled)),
    Case("daemon starts among 500 running: first `ps`", "s", 3, 1, scale.back_again),
)


def run_case(case: Case, engines: list[EngineUnderTest], images: Path) -> list[float]:
    """Median figure of each engine, taken in turns."""
    figures: dict[str, list[float]] = {engine.name: [] for engine in engines}
    for _ in range(case.turns):
        for engine in engines:
            for _ in range(case.in_a_row):
                figures[engine.name].append(case.measure(engine, images))
    return [statistics.median(figures[engine.name]) for engine in engines]


def debian_root(archive: Path, target: Path) -> None:
    """Write the only layer of a docker-archive as a plain root file system tar."""
    with tarfile.open(archive) as tar:
        manifest_file = tar.extractfile("manifest.json")
        assert manifest_file is not None
        layer = json.load(manifest_file)[0]["Layers"][0]
        data = tar.extractfile(layer)
        assert data is not None
        raw = data.read()
    if raw[:2] == b"\x1f\x8b":
        raw = subprocess.run(["gzip", "-d"], input=raw, capture_output=True, check=True).stdout
    target.write_bytes(raw)
