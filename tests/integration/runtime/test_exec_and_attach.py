"""Further processes in a container, and clients attached to its stdio."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Any

import pytest
import pytest_asyncio
from tests.containers import make_spec
from tests.integration.runtime.conftest import Runner, logged

from wherry.runtime.bundle import StartFailed
from wherry.runtime.client import AttachRequest, Shim


def process(*args: str, **values: Any) -> dict[str, Any]:
    """An OCI process as the engine makes it for an exec."""
    return {**make_spec(list(args))["process"], **values}


class Client:
    """The far end of an attached socket."""

    def __init__(self, **options: Any) -> None:
        self.sock, far = socket.socketpair()
        self.sock.setblocking(False)
        self.request = AttachRequest(far, **options)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self, size: int = 1 << 16) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, size), 20)

    async def read_until(self, mark: bytes) -> bytes:
        data = b""
        while mark not in data:
            piece = await self.read()
            assert piece, data
            data += piece
        return data

    async def read_all(self) -> bytes:
        data = b""
        while piece := await self.read():
            data += piece
        return data

    def end_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Docker's multiplexed stream, cut into frames."""
    result = []
    while data:
        stream, size = struct.unpack("!BxxxI", data[:8])
        result.append((stream, data[8 : 8 + size]))
        data = data[8 + size :]
    return result


async def run_exec(shim: Shim, plan: dict[str, Any], **options: Any) -> tuple[int, bytes]:
    client = Client(**options)
    await shim.exec("e1", plan, tty=False, attach=client.request)
    output = await client.read_all()
    return (await shim.wait_exec("e1")).code, output


@pytest_asyncio.fixture(loop_scope="module")
async def sleeper(runner: Runner) -> Shim:
    shim, _ = await runner.start(make_spec(["sleep", "600"]))
    return shim


@pytest.mark.parametrize("user_namespace", [True, False])
async def test_exec_is_in_the_same_namespaces(runner: Runner, user_namespace: bool) -> None:
    shim, _ = await runner.start(make_spec(["sleep", "600"], user_namespace=user_namespace))
    script = "for n in mnt pid uts ipc net cgroup user; do readlink /proc/self/ns/$n; done"
    code, output = await run_exec(shim, process("sh", "-c", script + "; cat /proc/self/cgroup"))
    own = [
        os.readlink(f"/proc/{shim.pid}/ns/{n}")
        for n in ("mnt", "pid", "uts", "ipc", "net", "cgroup", "user")
    ]
    lines = output.decode().splitlines()
    assert (code, lines[:7]) == (0, own)
    assert all(line.endswith(":/") for line in lines[7:])


async def test_exec_reports_exit_codes(sleeper: Shim) -> None:
    assert (await run_exec(sleeper, process("sh", "-c", "exit 9")))[0] == 9
    assert (await run_exec(sleeper, process("sh", "-c", "kill -15 $$")))[0] == 143


async def test_exec_of_nothing_is_127(sleeper: Shim) -> None:
    with pytest.raises(StartFailed) as failure:
        await sleeper.exec("e1", process("nosuch"), tty=False)
    assert failure.value.exit_code == 127
    assert str(failure.value) == 'exec: "nosuch": executable file not found in $PATH'


async def test_exec_in_a_folder_that_is_missing(sleeper: Shim) -> None:
    with pytest.raises(StartFailed, match="no such file or directory") as failure:
        await sleeper.exec("e1", process("pwd", cwd="/nope"), tty=False)
    assert 'chdir to cwd ("/nope")' in str(failure.value)


async def test_exec_as_a_user_with_environment_and_cwd(sleeper: Shim) -> None:
    plan = process("sh", "-c", "id -u; pwd; echo $A $HOME", cwd="/tmp", user={"username": "app"})
    plan["env"].append("A=b")
    assert await run_exec(sleeper, plan) == (0, b"1000\n/tmp\nb /home/app\n")


async def test_exec_has_only_stdio_open_and_default_capabilities(sleeper: Shim) -> None:
    code, output = await run_exec(
        sleeper, process("sh", "-c", "ls /proc/$$/fd; grep -E 'Cap(Inh|Eff)' /proc/$$/status; true")
    )
    assert code == 0
    words = output.decode().split()
    assert words[:3] == ["0", "1", "2"]
    assert words[3:] == ["CapInh:", "0" * 16, "CapEff:", "00000000a80425fb"]


async def test_exec_frames_both_streams(sleeper: Shim) -> None:
    plan = process("sh", "-c", "echo out; sleep 0.1; echo err >&2")
    _, output = await run_exec(sleeper, plan, framed=True)
    assert frames(output) == [(1, b"out\n"), (2, b"err\n")]


async def test_exec_stdin_ends_with_the_clients_input(sleeper: Shim) -> None:
    client = Client(stdin=True, initial=b"one ")
    await sleeper.exec("e1", process("cat"), tty=False, attach=client.request)
    await client.send(b"two")
    client.end_input()
    assert await client.read_all() == b"one two"
    assert (await sleeper.wait_exec("e1")).code == 0


async def test_exec_passes_much_data_both_ways(sleeper: Shim) -> None:
    client = Client(stdin=True)
    await sleeper.exec("e1", process("cat"), tty=False, attach=client.request)
    blob = os.urandom(8 << 20)

    async def feed() -> None:
        await client.send(blob)
        client.end_input()

    feeding = asyncio.create_task(feed())
    assert await client.read_all() == blob
    await feeding


async def test_exec_with_a_terminal(sleeper: Shim) -> None:
    client = Client(stdin=True)
    plan = process("sh", "-c", "tty; stty size; read x; stty size; echo got $x")
    plan["consoleSize"] = {"height": 30, "width": 90}
    await sleeper.exec("e1", plan, tty=True, attach=client.request)
    assert b"/dev/pts/" in await client.read_until(b"30 90\r\n")
    await sleeper.resize(40, 100, "e1")
    await client.send(b"word\n")
    assert (await client.read_all()).endswith(b"40 100\r\ngot word\r\n")


async def test_exec_leaves_background_children_behind(sleeper: Shim) -> None:
    code, output = await run_exec(sleeper, process("sh", "-c", "sleep 300 & echo done"))
    assert (code, output) == (0, b"done\n")


async def test_a_container_with_a_running_exec_is_deleted(runner: Runner) -> None:
    shim, _ = await runner.start(make_spec(["sleep", "300"]))
    await shim.exec("e1", process("sleep", "300"), tty=False)
    async with asyncio.timeout(60):
        await shim.delete()


async def test_attach_before_start_gets_everything(runner: Runner) -> None:
    client = Client(framed=True)
    bundle = runner.shop.bundle(make_spec(["sh", "-c", "echo a; sleep 0.1; echo b >&2"]))
    shim = await runner.launcher.create(bundle, [client.request])
    await shim.start()
    assert frames(await client.read_all()) == [(1, b"a\n"), (2, b"b\n")]
    await shim.wait()
    await shim.delete()


async def test_stdin_of_a_container_half_closes(runner: Runner) -> None:
    client = Client(stdin=True)
    bundle = runner.shop.bundle(make_spec(["cat"]), open_stdin=True, stdin_once=True)
    shim = await runner.launcher.create(bundle, [client.request])
    await shim.start()
    await client.send(b"data\n")
    client.end_input()
    assert await client.read_all() == b"data\n"
    assert (await shim.wait()).code == 0
    assert logged(bundle) == "data\n"
    await shim.delete()


async def test_terminal_detach_keys_and_attaching_again(runner: Runner) -> None:
    spec = make_spec(["sh", "-c", "test -t 0 && tty; while read x; do echo got $x; done"])
    spec["process"]["consoleSize"] = {"height": 24, "width": 80}
    first = Client(stdin=True, detach_keys=b"\x10\x11")
    bundle = runner.shop.bundle(spec, tty=True, open_stdin=True)
    shim = await runner.launcher.create(bundle, [first.request])
    events: list[str] = []
    shim.on_event = lambda _, message: events.append(message["event"])
    await shim.start()
    await first.read_until(b"/dev/pts/0\r\n")
    await first.send(b"\x10")
    await first.send(b"\x11")
    assert await first.read_all() == b""
    second = Client(stdin=True)
    await shim.attach(second.request)
    await second.send(b"more\n")
    assert await second.read_until(b"got more\r\n")
    assert events == ["detach"]
    await shim.delete()


async def test_a_client_that_does_not_read_cannot_hold_the_container(runner: Runner) -> None:
    client = Client()
    bundle = runner.shop.bundle(make_spec(["sh", "-c", "head -c 8000000 /dev/zero | tr '\\0' x"]))
    shim = await runner.launcher.create(bundle, [client.request])
    await shim.start()
    assert (await asyncio.wait_for(shim.wait(), 30)).code == 0
    await shim.delete()


async def test_a_slow_client_loses_nothing(runner: Runner) -> None:
    client = Client()
    bundle = runner.shop.bundle(make_spec(["sh", "-c", "head -c 6000000 /dev/zero | tr '\\0' x"]))
    shim = await runner.launcher.create(bundle, [client.request])
    await shim.start()
    total = 0
    while piece := await client.read(200_000):
        total += len(piece)
        await asyncio.sleep(0.005)
    assert total == 6_000_000
    await shim.delete()
