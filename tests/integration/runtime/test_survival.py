"""What outlives what: shims the launcher and the daemon, containers not their shim."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest
from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner, logged

from wherry.errors import NotFound, Unavailable
from wherry.linux.cgroups import Cgroup
from wherry.runtime.bundle import LogConfig, read_exit
from wherry.runtime.client import Shim


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


async def until_dead(pid: int) -> None:
    for _ in range(1000):
        if not alive(pid):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"process {pid} lives on")


async def test_containers_outlive_the_launcher(runner: Runner) -> None:
    first, _ = await runner.start(make_spec(["sleep", "60"]))
    os.kill(runner.launcher.pid, signal.SIGKILL)
    await until_dead(runner.launcher.pid)
    assert alive(first.pid)
    status, _ = await runner.run(make_spec(["true"]))
    assert status.code == 0


async def test_a_shim_is_taken_over_again(runner: Runner) -> None:
    script = "i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); sleep 0.1; done; exit 5"
    shim, bundle = await runner.start(make_spec(["sh", "-c", script]))
    shim.close()
    again = await Shim.connect(bundle.socket)
    assert (again.id, again.pid, again.state) == (bundle.id, shim.pid, "running")
    assert (await again.wait()).code == 5
    assert logged(bundle) == "".join(f"{i}\n" for i in range(50))
    await again.delete()


async def test_an_end_while_nobody_listened_is_known(runner: Runner) -> None:
    shim, bundle = await runner.start(make_spec(["sh", "-c", "sleep 0.1; exit 6"]))
    shim.close()
    await until_dead(shim.pid)
    again = await Shim.connect(bundle.socket)
    status = await again.wait()
    assert status.code == 6 and status == read_exit(bundle.directory)
    await again.delete()
    assert not os.path.exists(bundle.socket)
    with pytest.raises(NotFound):
        await Shim.connect(bundle.socket)


async def test_an_exec_that_ended_while_nobody_listened_is_known(runner: Runner) -> None:
    shim, bundle = await runner.start(make_spec(["sleep", "60"]))
    process = make_spec(["sh", "-c", "sleep 0.1; exit 8"])["process"]
    pid = await shim.exec("e1", process, tty=False)
    shim.close()
    await until_dead(pid)
    again = await Shim.connect(bundle.socket)
    assert (await again.wait_exec("e1")).code == 8
    await again.delete()


async def test_a_killed_shim_takes_the_container_down(runner: Runner) -> None:
    shim, bundle = await runner.start(make_spec(["sleep", "60"]))
    os.kill(shim.shim_pid, signal.SIGKILL)
    with pytest.raises(Unavailable):
        await shim.wait()
    await until_dead(shim.pid)
    Cgroup(bundle.cgroup).remove()
    os.unlink(bundle.socket)


async def test_log_rotates(runner: Runner) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done"
    spec = make_spec(["sh", "-c", script])
    place = runner.shop.folder
    log = LogConfig(path=f"{place}/rotating.log", max_size=4096, max_file=3)
    shim, _ = await runner.start(spec, log=log)
    await shim.wait()
    sizes = {p.name: p.stat().st_size for p in place.glob("rotating.log*")}
    assert sorted(sizes) == ["rotating.log", "rotating.log.1", "rotating.log.2"]
    assert 4096 <= sizes["rotating.log.1"] < 4300


async def test_many_at_once_leave_nothing(runner: Runner) -> None:
    async def one(number: int) -> int:
        status, output = await runner.run(make_spec(["sh", "-c", f"echo {number}; exit {number}"]))
        assert output == f"{number}\n"
        return status.code

    assert await asyncio.gather(*(one(n) for n in range(1, 17))) == list(range(1, 17))


async def test_output_goes_to_a_log_service_and_a_local_copy(
    runner: Runner, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(f"{tmp_path}/log")
        service.settimeout(20)
        log = LogConfig(
            driver="syslog",
            path=f"{tmp_path}/copy.json",
            options={"syslog-address": f"unixgram://{tmp_path}/log"},
            source={"tag": "box", "hostname": "host"},
        )
        status, output = await runner.run(make_spec(["sh", "-c", "echo one; echo two"]), log=log)
        assert (status.code, output) == (0, "one\ntwo\n")
        received = [service.recv(4096) for _ in range(2)]
    assert [data.split()[-1] for data in received] == [b"one", b"two"]
    assert all(b"box" in data for data in received)


async def test_a_log_service_that_is_away_does_not_hold_the_end(
    runner: Runner, tmp_path: Path
) -> None:
    log = LogConfig(
        driver="fluentd",
        path="",
        options={"fluentd-address": "tcp://127.0.0.1:1", "mode": "non-blocking"},
    )
    shim, _ = await runner.start(make_spec(["sh", "-c", "yes | head -c 300000"]), log=log)
    assert (await asyncio.wait_for(shim.wait(), 20)).code == 0
    assert _senders(shim.shim_pid)
    for _ in range(100):
        if not _senders(shim.shim_pid):
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the sender outlives its container")


def _senders(shim: int) -> list[str]:
    """The living log senders of a shim."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(") ", 1)
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if name == "wherry-log" and int(parent) == shim and state != "Z":
            found.append(pid)
    return found
