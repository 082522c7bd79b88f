"""Many containers: what lists of them cost a daemon, and how soon it is back among them."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engines import EngineUnderTest

STOPPED = 1500
RUNNING = 500
TAGS = 1000
CLIENTS = 4
"""Those that make the containers."""


class _Connection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(600)
        self.sock.connect(self._path)


def ask(engine: EngineUnderTest, method: str, path: str, body: Any = None) -> bytes:
    """One request, whatever its answer."""
    connection = _Connection(engine.socket)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        return connection.getresponse().read()
    finally:
        connection.close()


def cpu_of(
    work: Callable[[EngineUnderTest], object], times: int = 1
) -> Callable[[EngineUnderTest, Path], float]:
    """A measurement: the seconds of processor time that ``work`` costs the daemon.

    The kernel counts in hundredths: what costs less is done more ``times``.
    """

    def measure(engine: EngineUnderTest, images: Path) -> float:
        before = engine.cpu()
        for _ in range(times):
            work(engine)
        return (engine.cpu() - before) / times

    return measure


def fill(engine: EngineUnderTest, images: Path) -> float:
    """Make as many containers as are wanted, and remove none; seconds of processor time a 100."""

    def one(number: int) -> None:
        body = {"Image": "busybox", "Cmd": ["true"]}
        ask(engine, "POST", f"/containers/create?name=bench-stopped-{number}", body)

    before = engine.cpu()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, range(STOPPED)))
    return 100 * (engine.cpu() - before) / STOPPED


def fill_running(engine: EngineUnderTest, images: Path) -> float:
    """Start containers without a network; seconds of the daemon's processor time a 100."""

    def one(number: int) -> None:
        host = {"NetworkMode": "none"}
        body = {"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": host}
        name = f"bench-running-{number}"
        ask(engine, "POST", f"/containers/create?name={name}", body)
        ask(engine, "POST", f"/containers/{name}/start")

    before = engine.cpu()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, range(RUNNING)))
    return 100 * (engine.cpu() - before) / RUNNING


def listed(engine: EngineUnderTest) -> None:
    """``docker ps -a``."""
    ask(engine, "GET", "/containers/json?all=1")


def listed_running(engine: EngineUnderTest) -> None:
    """``docker ps``."""
    ask(engine, "GET", "/containers/json")


def listed_with_sizes(engine: EngineUnderTest) -> None:
    """``docker ps -as``."""
    ask(engine, "GET", "/containers/json?all=1&size=1")


def disk_usage(engine: EngineUnderTest) -> None:
    """``docker system df``."""
    ask(engine, "GET", "/system/df")


def tagged(engine: EngineUnderTest) -> None:
    """Give an image many names, and take them away."""
    for number in range(TAGS):
        ask(engine, "POST", f"/images/busybox/tag?repo=bench/many&tag={number}")
    for number in range(TAGS):
        ask(engine, "DELETE", f"/images/bench/many:{number}")


def sampled(engine: EngineUnderTest) -> None:
    """``docker stats --no-stream``."""
    engine.docker("stats", "--no-stream")


def back_again(engine: EngineUnderTest, images: Path) -> float:
    """Seconds from the start of a daemon to its first list of the containers that run already."""
    engine.stop()
    started = time.perf_counter()
    engine.start()
    while engine.process is not None and engine.process.poll() is None:
        try:
            if ask(engine, "GET", "/containers/json").startswith(b"["):
                return time.perf_counter() - started
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{engine.name} did not start again")
