"""Directories of a client, sent and received as packets.

The sender lists all files first; the receiver asks for the contents that it wants by their number
in the list. Source: https://github.com/tonistiigi/fsutil (the wire format)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from grpclib.client import Stream
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError

from wherry.builder.buildkit.sessions import LOST, Session
from wherry.builder.buildkit.wire.fsutil_pb2 import Packet, Stat
from wherry.builder.buildkit.wire.session_grpc import FileSendStub, FileSyncStub
from wherry.builder.buildkit.wire.session_pb2 import BytesMessage
from wherry.builder.context import SpooledTree
from wherry.builder.keptcontexts import Kept, Spool
from wherry.builder.trees import Entry, Kind, Tree, normalise, walk
from wherry.errors import InvalidParameter, Unavailable

_SEND = "/moby.filesync.v1.FileSend/DiffCopy"
_RECEIVE = "/moby.filesync.v1.FileSync/DiffCopy"
_CHUNK = 32 << 10
_AT_ONCE = 64
"""Files that are asked for before the first of them is complete."""
_MAX_ENTRIES = 5_000_000

# Go's io/fs.FileMode, whose bits are not those of stat(2).
_DIRECTORY, _SYMLINK, _DEVICE, _FIFO, _SOCKET = 1 << 31, 1 << 27, 1 << 26, 1 << 25, 1 << 24
_CHARACTER = 1 << 21
_SPECIAL_BITS = ((1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000))
_KIND_BITS = {
    Kind.FILE: 0,
    Kind.DIRECTORY: _DIRECTORY,
    Kind.SYMLINK: _SYMLINK,
    Kind.FIFO: _FIFO,
    Kind.BLOCK: _DEVICE,
    Kind.CHARACTER: _DEVICE | _CHARACTER,
}
Progress = Callable[[int, bool], None]
"""(bytes so far, whether that is all)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which directory of a client, and which part of it.

    ``include`` and ``exclude`` are patterns as in ``.dockerignore``; ``follow`` are paths that are
    wanted with all that links on their way lead to.
    """

    directory: str
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    follow: Sequence[str] = ()

    def metadata(self) -> list[tuple[str, str]]:
        """The headers that ask for it; text beyond ASCII is escaped and marked as such."""
        headers: list[tuple[str, str]] = []
        for key, values in (
            ("dir-name", (self.directory,)),
            ("include-patterns", self.include),
            ("exclude-patterns", self.exclude),
            ("followpaths", self.follow),
        ):
            plain = all(value.isascii() and value.isprintable() for value in values)
            headers += [(key, value if plain else quote_plus(value)) for value in values]
            if not plain:
                headers.append((f"{key}-encoded", "1"))
        return headers


async def receive(
    session: Session, wanted: Wanted, spool: Spool, progress: Progress, known: Kept | None = None
) -> SpooledTree:
    """Fetch a directory; contents go into ``spool``, which is that of ``known`` if it is given.

    Files that are ``known`` and have not changed are not asked for.
    Raises InvalidParameter when the client has no such directory or what it sends makes no
    sense, Unavailable when it goes away.
    """
    if not session.offers(_RECEIVE):
        raise InvalidParameter(
            f"no local sources enabled: the session offers no {wanted.directory}"
        )
    call = FileSyncStub(session.channel).DiffCopy.open(metadata=wanted.metadata())
    try:
        async with call as stream:
            await stream.send_request()
            receiver = _Receiver(stream, spool, progress, known)
            await receiver.run()
            return receiver.tree
    except GRPCError as error:
        raise InvalidParameter(error.message or f"cannot read {wanted.directory}") from None
    except LOST as error:
        raise Unavailable(f"the client went away: {error}") from None


@dataclass(slots=True)
class _File:
    """A file on its way: its place in the spool and what has come."""

    path: str
    entry: Entry
    offset: int
    received: int = 0


@dataclass
class _Receiver:
    stream: Stream[Packet, Packet]
    spool: Spool
    progress: Progress
    known: Kept | None
    _size: int = 0
    _links: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tree = SpooledTree(self.spool.file)

    async def run(self) -> None:
        waiting = await self._list()
        coming: dict[int, _File] = {}
        while waiting or coming:
            while waiting and len(coming) < _AT_ONCE:
                number, file = waiting.popleft()
                coming[number] = file
                await self.stream.send_message(Packet(type=Packet.PACKET_REQ, id=number))
            packet = await self._packet()
            if packet.type == Packet.PACKET_DATA:
                self._data(coming, packet)
        for path, target in self._links:
            if not self.tree.link(path, target):
                raise InvalidParameter(f"hard link {path} leads to no file")
        await self.stream.send_message(Packet(type=Packet.PACKET_FIN), end=True)
        while (await self._packet()).type != Packet.PACKET_FIN:
            pass
        self.progress(self._size, True)

    async def _list(self) -> deque[tuple[int, _File]]:
        """Read the list of files; returns those with content, by number."""
        files: deque[tuple[int, _File]] = deque()
        number = 0
        while True:
            packet = await self._packet()
            if packet.type != Packet.PACKET_STAT:
                continue
            if not packet.HasField("stat"):
                return files
            if (file := self._add(packet.stat)) is not None:
                files.append((number, file))
            number += 1
            if number > _MAX_ENTRIES:
                raise InvalidParameter("the build context has too many files")

    def _add(self, stat: Stat) -> _File | None:
        """Note a file; returns it when there is content to ask for."""
        path = normalise(stat.path)
        entry = read_stat(stat)
        if entry is None:
            return None
        if entry.kind is not Kind.FILE:
            self.tree.insert(path, entry)
            return None
        if stat.linkname:
            self._links.append((path, normalise(stat.linkname)))
            return None
        if entry.size < 0:
            raise InvalidParameter(f"{path} has a negative size")
        if self.known is not None and entry.size and self.known.same(path, entry):
            self.tree.adopt(path, self.known.tree)
            return None
        file = _File(path, entry, self.spool.reserve(entry.size))
        self.tree.insert(path, entry, file.offset)
        return file if entry.size else None

    def _data(self, coming: dict[int, _File], packet: Packet) -> None:
        file = coming.get(packet.id)
        if file is None:
            raise InvalidParameter(f"the client sent file {packet.id} without being asked")
        if not packet.data:
            del coming[packet.id]
            if file.received != file.entry.size:
                raise InvalidParameter(f"{file.path} changed while it was sent")
            return
        if file.received + len(packet.data) > file.entry.size:
            raise InvalidParameter(f"{file.path} changed while it was sent")
        os.pwrite(self.spool.file.fileno(), packet.data, file.offset + file.received)
        file.received += len(packet.data)

    async def _packet(self) -> Packet:
        packet = await self.stream.recv_message()
        if packet is None:
            raise InvalidParameter("the client ended the transfer of its files too early")
        if packet.type == Packet.PACKET_ERR:
            raise InvalidParameter(packet.data.decode("utf-8", "replace"))
        self._size += packet.ByteSize()
        self.progress(self._size, False)
        return packet


def read_stat(stat: Stat) -> Entry | None:
    """A file as the sender describes it; None for a socket."""
    if stat.mode & _SOCKET:
        return None
    kind = Kind.FILE
    if stat.mode & _DIRECTORY:
        kind = Kind.DIRECTORY
    elif stat.mode & _SYMLINK:
        kind = Kind.SYMLINK
    elif stat.mode & _FIFO:
        kind = Kind.FIFO
    elif stat.mode & _DEVICE:
        kind = Kind.CHARACTER if stat.mode & _CHARACTER else Kind.BLOCK
    mode = stat.mode & 0o777
    for theirs, ours in _SPECIAL_BITS:
        mode |= ours if stat.mode & theirs else 0
    return Entry(
        kind,
        mode,
        stat.uid,
        stat.gid,
        stat.size if kind is Kind.FILE else 0,
        stat.mod_time,
        stat.linkname if kind is Kind.SYMLINK else "",
        (stat.devmajor, stat.devminor),
        dict(stat.xattrs),
    )


def write_stat(path: str, entry: Entry, hard_link: str = "") -> Stat:
    """A file as the receiver wants it described; another name of ``hard_link`` if that is given."""
    mode = entry.mode & 0o777 | _KIND_BITS[entry.kind]
    for theirs, ours in _SPECIAL_BITS:
        mode |= theirs if entry.mode & ours else 0
    return Stat(
        path=path,
        mode=mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mod_time=entry.mtime,
        linkname=hard_link or entry.target,
        devmajor=entry.device[0],
        devminor=entry.device[1],
        xattrs=entry.xattrs,
    )


async def send_tree(session: Session, exporter: int, tree: Tree) -> None:
    """Have the client write a directory. Raises InvalidParameter when it does not want to."""
    _check_target(session)
    call = session.channel.request(
        _SEND, Cardinality.STREAM_STREAM, Packet, Packet, metadata=_target(exporter)
    )
    try:
        async with call as stream:
            await stream.send_request()
            files: dict[int, str] = {}
            for number, (path, entry, first) in enumerate(entries(tree)):
                if entry.kind is Kind.FILE and not first:
                    files[number] = path
                stat = write_stat(path, entry, first)
                await stream.send_message(Packet(type=Packet.PACKET_STAT, stat=stat))
            await stream.send_message(Packet(type=Packet.PACKET_STAT))
            await _answer(stream, tree, files)
    except GRPCError as error:
        raise InvalidParameter(f"error from receiver: {error.message}") from None
    except LOST as error:
        raise Unavailable(f"the client went away: {error}") from None


def entries(tree: Tree) -> Iterator[tuple[str, Entry, str]]:
    """All files of a tree, each directory before what is in it.

    Path, entry, and the path that came first of those that name the same file, empty for that.
    """
    firsts: dict[tuple[int, int], str] = {}
    for path in walk(tree, ""):
        entry = tree.entry(path)
        if entry is None:
            continue
        first = firsts.setdefault(entry.inode, path) if entry.inode is not None else path
        yield path, entry, "" if first == path else first


async def _answer(stream: Stream[Packet, Packet], tree: Tree, files: dict[int, str]) -> None:
    """Send what the receiver asks for until it is satisfied."""
    while (packet := await stream.recv_message()) is not None:
        if packet.type == Packet.PACKET_ERR:
            raise InvalidParameter(packet.data.decode("utf-8", "replace"))
        if packet.type == Packet.PACKET_FIN:
            await stream.send_message(Packet(type=Packet.PACKET_FIN), end=True)
        elif packet.type == Packet.PACKET_REQ:
            with tree.open(files[packet.id]) as file:
                while data := file.read(_CHUNK):
                    await stream.send_message(
                        Packet(type=Packet.PACKET_DATA, id=packet.id, data=data)
                    )
            await stream.send_message(Packet(type=Packet.PACKET_DATA, id=packet.id))


async def send_file(session: Session, exporter: int, chunks: AsyncIterator[bytes]) -> None:
    """Have the client write one file. Raises InvalidParameter when it does not want to."""
    _check_target(session)
    call = FileSendStub(session.channel).DiffCopy.open(metadata=_target(exporter))
    try:
        async with call as stream:
            await stream.send_request()
            async for chunk in chunks:
                for start in range(0, len(chunk), _CHUNK):
                    await stream.send_message(BytesMessage(data=chunk[start : start + _CHUNK]))
            await stream.end()
            while await stream.recv_message() is not None:
                pass
    except GRPCError as error:
        raise InvalidParameter(f"error from receiver: {error.message}") from None
    except LOST as error:
        raise Unavailable(f"the client went away: {error}") from None


def _check_target(session: Session) -> None:
    if not session.offers(_SEND):
        raise InvalidParameter(f"method {_SEND} not supported by the client")


def _target(exporter: int) -> dict[str, str]:
    return {"buildkit-attachable-exporter-id": str(exporter)}
