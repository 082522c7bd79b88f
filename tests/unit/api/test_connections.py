import asyncio
import contextlib
import resource
import socket
from pathlib import Path

import pytest
from tests.unit.api.fake import exchange, free_port, get, serving
from tests.unit.api.test_hijack import ATTACH

from wherry.api import connections
from wherry.api.connections import Gate, Limits, limits_of_process
from wherry.api.serve import Address
from wherry.api.tls import TLSFiles
from wherry.engine.logs import frame

PING = b"GET /_ping HTTP/1.1\r\nHost: e\r\n\r\n"
WAIT = b"POST /containers/c1/wait HTTP/1.1\r\nHost: e\r\n\r\n"
HEAD = b"POST /containers/create HTTP/1.1\r\nHost:"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def begun(path: str, data: bytes = b"") -> Streams:
    """A connection on which ``data`` was sent."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    return reader, writer


async def ended(streams: Streams) -> bytes:
    """What comes until the server ends the connection."""
    async with asyncio.timeout(30):
        try:
            return await streams[0].read()
        except ConnectionResetError:
            return b""
        finally:
            streams[1].close()


async def pinged(streams: Streams) -> None:
    streams[1].write(PING)
    assert (await streams[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    await streams[0].readexactly(2)


async def test_a_head_that_does_not_come_ends_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(head_seconds=0.2)) as server:
        silent, slow, again = (
            await begun(server.path),
            await begun(server.path, HEAD),
            await begun(server.path),
        )
        await pinged(again)
        again[1].write(HEAD)  # the head of the second request is as slow
        assert [await ended(one) for one in (silent, slow, again)] == [b"", b"", b""]


async def test_dripping_a_head_gives_no_more_time(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(head_seconds=0.3)) as server:
        dripping = await begun(server.path, HEAD)
        ending = asyncio.create_task(ended(dripping))
        while not ending.done():
            dripping[1].write(b"X")
            await asyncio.sleep(0.02)
        assert await ending == b""


async def test_a_connection_at_rest_ends_and_what_is_under_way_does_not(tmp_path: Path) -> None:
    limits = Limits(head_seconds=0.2, rest_seconds=0.3)
    async with serving(tmp_path, limits=limits) as server:
        attached = await begun(server.path, ATTACH)
        await attached[0].readuntil(b"\r\n\r\n")
        waiting = await begun(
            server.path,
            b"POST /containers/c1/wait HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n",
        )
        await waiting[0].readuntil(b"\r\n\r\n")
        resting = await begun(server.path)
        await pinged(resting)
        assert await ended(resting) == b""
        server.engine.containers.exit.set_result({"StatusCode": 3})
        assert b'{"StatusCode":3}' in await ended(waiting)
        attached[1].write(b"still")
        attached[1].write_eof()
        assert await ended(attached) == frame("stdout", b"still") + frame("stdout", b"end")


async def test_who_waits_longest_gives_way_and_requests_under_way_never(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(connections=3)) as server:
        busy = await begun(server.path, WAIT)
        await busy[0].readuntil(b"\r\n\r\n")
        attached = await begun(server.path, ATTACH)  # taken over: it has no place here any more
        await attached[0].readuntil(b"\r\n\r\n")
        rested = await begun(server.path)
        await pinged(rested)
        slow = await begun(server.path, HEAD)
        await asyncio.sleep(0)
        first, second = await begun(server.path), await begun(server.path)
        assert await ended(rested) == b""
        assert await ended(slow) == b""
        for new in (first, second):
            new[1].write(WAIT)
            await new[0].readuntil(b"\r\n\r\n")
        refused = await exchange(server.path, PING)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"too many connections" in refused
        server.engine.containers.exit.set_result({"StatusCode": 0})
        for one in (busy, first, second):
            await one[0].readuntil(b"0\r\n\r\n")
        assert (await get(server.path, "/_ping")).startswith(b"HTTP/1.1 200")
        for one in (attached, busy, first, second):
            one[1].close()


async def test_three_thousand_slow_heads_stop_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(connections=200)) as server:
        slow = [await begun(server.path, HEAD) for _ in range(300)]
        for _ in range(27):
            assert (await get(server.path, "/_ping")).startswith(b"HTTP/1.1 200")
            slow += [await begun(server.path, HEAD) for _ in range(100)]
            for one in slow[:100]:
                assert await ended(one) == b""
            del slow[:100]
        assert (await get(server.path, "/_ping")).startswith(b"HTTP/1.1 200")
        for _, writer in slow:
            writer.close()


async def test_many_that_are_accepted_at_once_have_no_more_places(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(connections=20)) as server:
        waiting = []
        for _ in range(300):  # all before the server has its next turn
            one = socket.socket(socket.AF_UNIX)
            one.connect(server.path)
            waiting.append(one)
        assert (await get(server.path, "/_ping")).startswith(b"HTTP/1.1 200")
        for one in waiting[:280]:
            one.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(one, 1) == b""
        for one in waiting:
            one.close()


async def test_handshakes_that_do_not_come_give_way_too(
    tmp_path: Path, certificate: TLSFiles
) -> None:
    port = free_port()
    limits = Limits(connections=2, head_seconds=0.2)
    async with serving(tmp_path, Address("tcp", "127.0.0.1", port), certificate, limits):
        at_once = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        assert [await ended(one) for one in silent] == [b""] * 5
        for one in at_once:
            one.setblocking(False)
            with one, contextlib.suppress(ConnectionResetError):
                assert await asyncio.get_running_loop().sock_recv(one, 1) == b""


def test_the_limit_fits_into_half_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def limit(soft: int) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))

    limit(1024)
    assert limits_of_process(1).connections * 3 <= 512
    assert limits_of_process(2).connections * 6 <= 512
    limit(resource.RLIM_INFINITY)
    assert limits_of_process(1).connections == Limits().connections
    limit(20)
    assert limits_of_process(4).connections == 16
    assert connections.resource is resource


async def test_a_gate_counts_each_connection_once() -> None:
    class Client:
        gone = False

        def give_way(self) -> None:
            self.gone = True

    gate, one, two = Gate(Limits(connections=2)), Client(), Client()
    gate.beginning(one)
    gate.beginning(one)
    gate.busy(one)
    gate.busy(one)
    gate.beginning(two)
    assert len(gate) == 2
    gate.resting(one)
    gate.leave(two)
    gate.resting(two)  # it is gone already
    assert len(gate) == 1
    gate.busy(two)
    assert gate.make_room()
    assert (one.gone, two.gone) == (True, False)
    gate.busy(one)
    assert not gate.make_room()


async def test_the_oldest_goes_whether_it_rests_or_begins() -> None:
    class Client:
        def __init__(self) -> None:
            self.gone = False

        def give_way(self) -> None:
            self.gone = True

    gate = Gate(Limits(connections=3))
    slow, rested, later = Client(), Client(), Client()
    gate.beginning(slow)
    gate.busy(rested)
    gate.resting(rested)
    gate.beginning(later)
    gone = []
    for _ in range(3):
        assert gate.make_room()
        gone.append([slow.gone, rested.gone, later.gone])
        gate.busy(Client())
    assert gone == [[True, False, False], [True, True, False], [True, True, True]]
    assert not gate.make_room()
