"""What is asked of a container at the very moment in which it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.daemon import Daemon
from tests.faults.walker import create
from tests.images import busybox_archive
from tests.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

ALWAYS = {"RestartPolicy": {"Name": "always"}, "NetworkMode": "none"}


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon
        assert "Traceback" not in daemon.log_text()


def view(daemon: Daemon, container: str) -> dict[str, Any]:
    shown: dict[str, Any] = daemon.json("GET", f"/containers/{container}/json")
    return shown


def crashing(daemon: Daemon, restarts: int) -> str:
    """A container that starts again and again, after so many restarts."""
    container = create(daemon, ["false"], HostConfig=ALWAYS)
    daemon.json("POST", f"/containers/{container}/start")
    until(lambda: view(daemon, container)["RestartCount"] >= restarts)
    return container


def test_a_container_that_crashes_on_and_on_can_be_removed(engine: Daemon) -> None:
    for number in range(16):
        container = crashing(engine, number % 3)
        if number % 2:  # at the moment of an end, as far as a client can meet it
            engine.json("POST", f"/containers/{container}/wait?condition=next-exit")
        engine.docker("rm", "-f", container)
        assert engine.request("GET", f"/containers/{container}/json")[0] == 404


def test_a_container_that_crashes_on_and_on_can_be_stopped(engine: Daemon) -> None:
    for number in range(8):
        container = crashing(engine, number % 3)
        status, answer = engine.request("POST", f"/containers/{container}/stop?t=0")
        assert status in (204, 304), answer
        state = view(engine, container)["State"]
        assert (state["Status"], state["Restarting"]) == ("exited", False)
        assert engine.request("DELETE", f"/containers/{container}")[0] == 204


def test_an_ending_container_can_be_committed(engine: Daemon) -> None:
    for number in range(8):
        container = create(engine, ["sleep", "1000"], HostConfig={"NetworkMode": "none"})
        engine.json("POST", f"/containers/{container}/start")
        pid = view(engine, container)["State"]["Pid"]
        if number % 2:
            os.kill(pid, signal.SIGKILL)
            status, answer = engine.request("POST", f"/commit?container={container}", {})
        else:
            killer = threading.Thread(target=os.kill, args=(pid, signal.SIGKILL))
            killer.start()
            status, answer = engine.request("POST", f"/commit?container={container}", {})
            killer.join()
        assert status == 201, answer
        engine.json("POST", f"/containers/{container}/wait")
        assert view(engine, container)["State"]["Status"] == "exited"
        engine.json("DELETE", f"/containers/{container}?force=1")


RACES = {
    "update": ("update", {"Memory": 64 << 20, "MemorySwap": 64 << 20}),
    "pause": ("pause", None),
    "resize": ("resize?h=10&w=10", None),
    "kill": ("kill", None),
    "stop": ("stop?t=0", None),
    "restart": ("restart?t=0", None),
    "exec": ("exec", {"Cmd": ["true"]}),
}


@pytest.mark.parametrize("race", RACES)
def test_an_ending_container_is_a_conflict_and_no_mistake_of_the_engine(
    engine: Daemon, race: str
) -> None:
    action, body = RACES[race]
    for _ in range(4):
        container = create(engine, ["sleep", "1000"], Tty=True, HostConfig={"NetworkMode": "none"})
        engine.json("POST", f"/containers/{container}/start")
        os.kill(view(engine, container)["State"]["Pid"], signal.SIGKILL)
        status, answer = engine.request("POST", f"/containers/{container}/{action}", body)
        assert status < 300 or status in (304, 404, 409), (status, answer)
        if race == "exec" and status == 201:
            path = f"/exec/{engine_id(answer)}/start"
            status, answer = engine.request("POST", path, {"Detach": True})
            assert status < 300 or status in (400, 404, 409), (status, answer)
        engine.json("DELETE", f"/containers/{container}?force=1")


def engine_id(answer: bytes) -> str:
    """The id in an answer to a creation."""
    return answer.decode().split('"')[3]


def test_a_removal_keeps_its_container_from_starting(engine: Daemon) -> None:
    """Whoever starts a container while it is being removed by force is refused, or it is killed."""
    for _ in range(4):
        container = create(engine, ["sleep", "1000"], HostConfig={"NetworkMode": "none"})
        answers: list[tuple[int, bytes]] = []

        def start(container: str = container, answers: list[tuple[int, bytes]] = answers) -> None:
            answers.append(engine.request("POST", f"/containers/{container}/start"))

        starter = threading.Thread(target=start)
        starter.start()
        status, answer = engine.request("DELETE", f"/containers/{container}?force=1")
        starter.join()
        assert status == 204, answer
        assert answers[0][0] in (204, 404, 409), answers
        assert engine.request("GET", f"/containers/{container}/json")[0] == 404
