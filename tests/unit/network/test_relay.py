"""The porter's loop, its relays and its messages, over loopback and in this process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from wherry.network.porter import packets
from wherry.network.porter.loop import READ, Loop
from wherry.network.porter.share import Share
from wherry.network.porter.tcp import TcpRelay
from wherry.network.porter.udp import UdpRelay

_LIMIT = 1024


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


class Relayed:
    """A relay to a server of this test, its loop in a thread."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self.loop = Loop()
        self.share = Share(self.loop, limit)
        self.server = socket.create_server(("127.0.0.1", 0))
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address = listener.getsockname()
        self._wake, self._end = os.pipe()
        self.relay = TcpRelay(self.loop, self.share, listener, self.server.getsockname())
        self.loop.watch(self._wake, READ, self._stop)
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def _stop(self, _: int) -> None:
        self.loop.running = False

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client and the server's end of its relayed connection."""
        client = socket.create_connection(self.address, 20)
        server, _ = self.server.accept()
        server.settimeout(20)
        return client, server

    def close(self) -> None:
        os.write(self._end, b"x")
        self._thread.join()
        self.relay.close()
        self.loop.forget(self._wake)
        os.close(self._wake)
        os.close(self._end)
        self.server.close()


@pytest.fixture
def relayed() -> Iterator[Relayed]:
    made = Relayed()
    yield made
    made.close()


@contextlib.contextmanager
def without_pipes(relayed: Relayed) -> Iterator[None]:
    """No flow gets a pipe, as when descriptors are scarce."""
    most, relayed.share.pipes.most = relayed.share.pipes.most, 0
    yield
    relayed.share.pipes.most = most


@pytest.mark.parametrize("pipes", [True, False])
def test_large_transfers_arrive_with_and_without_pipes(relayed: Relayed, pipes: bool) -> None:
    sent = os.urandom(1 << 20) * 8
    with contextlib.nullcontext() if pipes else without_pipes(relayed):
        client, server = relayed.pair()
        with client, server:

            def upload() -> None:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)

            sending = threading.Thread(target=upload)
            sending.start()
            came = hashlib.sha256()
            while data := server.recv(1 << 16):
                came.update(data)
            sending.join()
            assert came.digest() == hashlib.sha256(sent).digest()
            server.sendall(b"thanks")
            server.close()
            assert client.recv(100) == b"thanks"
            assert client.recv(100) == b""


def test_a_flow_costs_two_descriptors_and_a_pipe_only_while_it_is_blocked(
    relayed: Relayed,
) -> None:
    with contextlib.ExitStack() as opened:
        pairs = []
        before = 0
        for number in range(21):
            client, server = relayed.pair()
            opened.enter_context(client)
            opened.enter_context(server)
            for one, other in ((client, server), (server, client)):
                one.sendall(b"x")
                assert other.recv(1) == b"x"
            pairs.append((client, server))
            before = before or descriptors() - number
        # Each: the test's two and the relay's two. The first has made the shared pipe.
        assert descriptors() == before + 20 * 4
        client, server = pairs[0]
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(1 << 20))
        relayed_pipes = descriptors() - before - 20 * 4
        assert relayed_pipes in (0, 2)  # the shared one is taken, another serves the rest
        client, server = pairs[1]
        client.sendall(b"y")
        assert server.recv(1) == b"y"


def test_a_reset_ends_a_flow_that_only_waits(relayed: Relayed) -> None:
    client, server = relayed.pair()
    with server:
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""  # half closed, and the server has nothing to say
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        # The relay's end goes: what is sent to it is refused.
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            while True:
                server.sendall(b"?")


@pytest.mark.parametrize("limit", [64, 512, 20_000, 1 << 20])
def test_a_flooded_listener_leaves_room_for_others(limit: int) -> None:
    loop = Loop()
    share = Share(loop, limit)
    flooded = 0
    while share.allows(flooded):
        share.take()
        flooded += 1
    other = 0
    while share.allows(other):
        share.take()
        other += 1
    descriptors_taken = 2 * (flooded + other + share.pipes.most)
    assert flooded > other >= flooded // 4 > 0
    assert descriptors_taken <= share.wall <= limit - min(limit // 4, 4096)

    woken: list[str] = []
    share.wait("one", lambda: woken.append("one"))
    share.wait("two", lambda: woken.append("two"))
    share.leave("two")
    share.give()
    share.give()
    loop.later(0, lambda: setattr(loop, "running", False))
    loop.run()
    assert woken == ["one"]


def test_a_client_of_a_udp_relay_takes_no_number_of_the_reserve() -> None:
    loop = Loop()
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    share = Share(loop, 1024)
    share.wall = 0
    relay = UdpRelay(loop, share, listener, ("127.0.0.1", 9))
    before = descriptors()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", listener.getsockname())
        loop.later(0, lambda: setattr(loop, "running", False))
        loop.run()
        assert descriptors() == before + 1
    relay.close()


def test_nothing_that_a_callback_raises_ends_the_loop(capsys: pytest.CaptureFixture[str]) -> None:
    loop = Loop()
    calls: list[str] = []
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")

        def fails(_: int) -> None:
            calls.append("handler")
            raise OSError(24, "Too many open files")

        def fails_too() -> None:
            calls.append("timer")
            raise ValueError("no")

        loop.watch(near.fileno(), READ, fails)
        loop.later(0, fails_too)
        loop.later(0.05, lambda: setattr(loop, "running", False))
        loop.run()
        # The descriptor is still readable: its handler rests and does not spin.
        assert calls == ["handler", "timer"]
        assert "Too many open files" in capsys.readouterr().err
        loop.forget(near.fileno())


def test_messages_of_any_size_with_descriptors() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far, open("/dev/null") as null:
        for length in (10, 1 << 16, 1 << 22):
            packets.send(near, {"do": "name", "names": "n" * length}, [null.fileno()])
            message, given = packets.receive(far)
            assert message == {"do": "name", "names": "n" * length}
            assert [os.path.samestat(os.fstat(one), os.fstat(null.fileno())) for one in given]
            assert len(given) == 1
            os.close(given[0])
        near.close()
        with pytest.raises(EOFError):
            packets.receive(far)
