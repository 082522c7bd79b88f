"""Transfers with a client of our own making, good and bad, over a real connection."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builder.trees import tree

from wherry.builder.buildkit import filesync
from wherry.builder.buildkit.filesync import Wanted, read_stat, write_stat
from wherry.builder.buildkit.sessions import Offer, Session, Sessions
from wherry.builder.buildkit.transport import GrpcServer
from wherry.builder.buildkit.wire.fsutil_pb2 import Packet, Stat
from wherry.builder.buildkit.wire.session_grpc import FileSyncBase
from wherry.builder.context import SpooledTree
from wherry.builder.keptcontexts import KeptContexts, Spool
from wherry.builder.trees import Entry, Kind, walk
from wherry.errors import InvalidParameter, WherryError

STAT, REQ, DATA, FIN, ERR = (
    Packet.PACKET_STAT,
    Packet.PACKET_REQ,
    Packet.PACKET_DATA,
    Packet.PACKET_FIN,
    Packet.PACKET_ERR,
)
_RECEIVE = "/moby.filesync.v1.filesync/diffcopy"


class Client(FileSyncBase):
    """A client that sends what ``script`` says."""

    def __init__(self, script: Callable[[Any], Awaitable[None]]) -> None:
        self.script = script
        self.metadata: Any = None

    async def DiffCopy(self, stream: Any) -> None:
        self.metadata = stream.metadata
        await self.script(stream)


@asynccontextmanager
async def session(client: Client) -> AsyncIterator[Session]:
    """The session of a client in this process."""
    ours, theirs = socket.socketpair()
    server = GrpcServer([client])
    await server.serve(theirs, b"")
    sessions = Sessions()
    await sessions.open(Offer("s", "", "", frozenset({_RECEIVE})), ours, b"")
    try:
        yield await sessions.find("s")
    finally:
        sessions.close()


async def received(script: Callable[[Any], Awaitable[None]], wanted: Wanted) -> SpooledTree:
    async with session(Client(script)) as found:
        spool = Spool(tempfile.gettempdir())
        return await filesync.receive(found, wanted, spool, lambda size, done: None)


def honest(files: dict[str, Stat], contents: dict[str, bytes]) -> Callable[[Any], Awaitable[None]]:
    """A client that does what is expected of it."""

    async def script(stream: Any) -> None:
        names = list(files)
        for stat in files.values():
            await stream.send_message(Packet(type=STAT, stat=stat))
        await stream.send_message(Packet(type=STAT))
        async for packet in stream:
            if packet.type == FIN:
                await stream.send_message(Packet(type=FIN))
                return
            data = contents[names[packet.id]]
            for start in range(0, len(data), 4):
                piece = data[start : start + 4]
                await stream.send_message(Packet(type=DATA, id=packet.id, data=piece))
            await stream.send_message(Packet(type=DATA, id=packet.id))

    return script


async def test_a_directory_arrives() -> None:
    contents = {"a": b"first file", "d/b": b"", "d/c": b"x" * 1000}
    files = {
        "a": Stat(path="a", mode=0o755, size=10, mod_time=5),
        "d": Stat(path="d", mode=1 << 31 | 1 << 20 | 0o777),
        "d/b": Stat(path="d/b", mode=0o600),
        "d/c": Stat(path="d/c", mode=1 << 23 | 0o711, size=1000, xattrs={"user.x": b"y"}),
        "d/hard": Stat(path="d/hard", mode=0o711, size=1000, linkname="d/c"),
        "d/link": Stat(path="d/link", mode=1 << 27 | 0o777, linkname="../a"),
        "d/sock": Stat(path="d/sock", mode=1 << 24 | 0o777),
        "fifo": Stat(path="fifo", mode=1 << 25 | 0o644),
    }
    found = await received(honest(files, contents), Wanted("context"))
    assert list(walk(found, "")) == ["a", "d", "d/b", "d/c", "d/hard", "d/link", "fifo"]
    assert found.entry("a") == Entry(Kind.FILE, 0o755, size=10, mtime=5)
    assert found.entry("d") == Entry(Kind.DIRECTORY, 0o1777)
    assert found.entry("d/link") == Entry(Kind.SYMLINK, 0o777, target="../a")
    for name, data in (*contents.items(), ("d/hard", contents["d/c"])):
        with found.open(name) as file:
            assert file.read() == data


async def test_names_cannot_leave_the_context() -> None:
    files = {"x": Stat(path="../../etc/passwd", mode=0o644, size=1)}
    found = await received(honest(files, {"x": b"!"}), Wanted("context"))
    assert list(walk(found, "")) == ["etc", "etc/passwd"]


async def bad_unasked(stream: Any) -> None:
    await stream.send_message(Packet(type=STAT, stat=Stat(path="a", mode=0o644, size=1)))
    await stream.send_message(Packet(type=STAT))
    await stream.send_message(Packet(type=DATA, id=7, data=b"x"))
    await stream.recv_message()


async def bad_too_much(stream: Any) -> None:
    await stream.send_message(Packet(type=STAT, stat=Stat(path="a", mode=0o644, size=1)))
    await stream.send_message(Packet(type=STAT))
    await stream.recv_message()
    await stream.send_message(Packet(type=DATA, id=0, data=b"xy"))
    await stream.recv_message()


async def bad_too_little(stream: Any) -> None:
    await stream.send_message(Packet(type=STAT, stat=Stat(path="a", mode=0o644, size=3)))
    await stream.send_message(Packet(type=STAT))
    await stream.recv_message()
    await stream.send_message(Packet(type=DATA, id=0, data=b"xy"))
    await stream.send_message(Packet(type=DATA, id=0))
    await stream.recv_message()


async def bad_early_end(stream: Any) -> None:
    await stream.send_message(Packet(type=STAT, stat=Stat(path="a", mode=0o644, size=3)))


async def bad_negative(stream: Any) -> None:
    await stream.send_message(Packet(type=STAT, stat=Stat(path="a", mode=0o644, size=-3)))
    await stream.recv_message()


async def bad_link(stream: Any) -> None:
    stat = Stat(path="a", mode=0o644, linkname="nowhere")
    await stream.send_message(Packet(type=STAT, stat=stat))
    await stream.send_message(Packet(type=STAT))
    await stream.recv_message()


async def bad_error(stream: Any) -> None:
    await stream.send_message(Packet(type=ERR, data=b"no such directory"))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (bad_unasked, "without being asked"),
        (bad_too_much, "changed while it was sent"),
        (bad_too_little, "changed while it was sent"),
        (bad_early_end, "ended the transfer"),
        (bad_negative, "negative size"),
        (bad_link, "leads to no file"),
        (bad_error, "no such directory"),
    ],
)
async def test_clients_that_misbehave(script: Callable[[Any], Awaitable[None]], words: str) -> None:
    with pytest.raises(WherryError) as failed:
        await received(script, Wanted("context"))
    assert words in str(failed.value)


async def test_what_is_asked_for_travels_as_metadata() -> None:
    client = Client(honest({}, {}))
    async with session(client) as found, _spool() as spool:
        wanted = Wanted("context", exclude=("*.o", "größe"), follow=("a b",))
        await filesync.receive(found, wanted, spool, lambda size, done: None)
    assert client.metadata.getall("dir-name") == ["context"]
    assert client.metadata.getall("exclude-patterns") == ["%2A.o", "gr%C3%B6%C3%9Fe"]
    assert client.metadata.getall("exclude-patterns-encoded") == ["1"]
    assert client.metadata.getall("followpaths") == ["a b"]


async def test_a_client_without_files_is_told() -> None:
    async with session(Client(honest({}, {}))) as found, _spool() as spool:
        bare = Session(Offer("s", "", "", frozenset()), found.channel)
        with pytest.raises(InvalidParameter, match="no local sources enabled"):
            await filesync.receive(bare, Wanted("x"), spool, lambda size, done: None)


@asynccontextmanager
async def _spool() -> AsyncIterator[Spool]:
    spool = Spool(tempfile.gettempdir())
    yield spool
    spool.release()


@given(
    st.sampled_from(Kind),
    st.integers(0, 0o7777),
    st.integers(0, 1 << 31),
    st.integers(-(1 << 62), 1 << 62),
)
def test_descriptions_survive_the_way_there_and_back(
    kind: Kind, mode: int, owner: int, mtime: int
) -> None:
    target = "../t" if kind is Kind.SYMLINK else ""
    entry = Entry(kind, mode, owner, owner, 0, mtime, target, (1, 2), {"user.a": b"\0"})
    assert read_stat(write_stat("p", entry)) == entry


def test_entries_of_a_tree_come_in_the_order_that_receivers_demand() -> None:
    names = [path for path, *_ in filesync.entries(tree({"a/z": "", "a.b": "", "a/b/c": ""}))]
    assert names == ["a", "a/b", "a/b/c", "a/z", "a.b"]


async def test_only_what_changed_is_asked_for() -> None:
    asked: list[list[str]] = []

    def client(files: dict[str, tuple[bytes, int]]) -> Client:
        """Files by name, content and time; whatever was changed, whole seconds tell too little."""
        stats = {
            name: Stat(path=name, mode=0o644, size=len(data), mod_time=mtime)
            for name, (data, mtime) in files.items()
        }
        honest_script = honest(stats, {name: data for name, (data, _) in files.items()})
        asked.append([])

        class Watched:
            def __init__(self, stream: Any) -> None:
                self.stream = stream
                self.send_message = stream.send_message

            async def __aiter__(self) -> AsyncIterator[Any]:
                async for packet in self.stream:
                    if packet.type == REQ:
                        asked[-1].append(list(files)[packet.id])
                    yield packet

        async def script(stream: Any) -> None:
            await honest_script(Watched(stream))

        return Client(script)

    contexts = KeptContexts()
    old, fresh, whole = 1_000_000_001, 10**18 + 1, 5_000_000_000
    rounds = [
        {"a": (b"one", old), "b": (b"two", old), "new": (b"x", fresh), "tar": (b"y", whole)},
        {"a": (b"one", old), "b": (b"TWO", old + 1), "new": (b"x", fresh), "tar": (b"y", whole)},
        {"b": (b"TWO", old + 1), "c": (b"one", old)},
    ]
    for files in rounds:
        async with session(client(files)) as found:
            known = contexts.find("key")
            spool = known.spool.use() if known else Spool(tempfile.gettempdir())
            got = await filesync.receive(found, Wanted("d"), spool, lambda size, done: None, known)
            contexts.keep("key", "d", got, spool, began=10**9)
            for name, (data, _) in files.items():
                with got.open(name) as file:
                    assert file.read() == data
            spool.release()
    assert asked == [["a", "b", "new", "tar"], ["b", "new", "tar"], ["c"]]
    contexts.remove("key")
    assert list(contexts.all()) == []
    assert got.entry("b") is not None
    with pytest.raises(ValueError, match="closed"):
        got.open("b").read()


def test_what_is_kept_has_limits() -> None:
    contexts = KeptContexts()
    for number in range(20):
        spool = Spool(tempfile.gettempdir())
        contexts.keep(str(number), "d", SpooledTree(spool.file), spool, began=0)
        spool.release()
    assert [kept.key for kept in contexts.all()] == [str(number) for number in range(4, 20)]
    spool = Spool(tempfile.gettempdir())
    spool.reserve(200 << 20)
    contexts.keep("holes", "d", SpooledTree(spool.file), spool, began=0)
    assert contexts.find("holes") is None
    assert contexts.key("", "d") == ""
    assert contexts.key("s", "d") != contexts.key("s", "e")
    for kept in contexts.all():
        contexts.remove(kept.key)
