"""A planned layer as a tar stream: sorted, with nothing that depends on the day or the machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wherry.builder.copying import Item
from wherry.builder.trees import Kind
from wherry.storage.archive import header
from wherry.storage.archive.header import BLOCK
from wherry.storage.archive.writer import END

_CHUNK = 1 << 18


def layer_tar(items: Iterable[Item]) -> Iterator[bytes]:
    """The tar stream of ``items``, which come parents first, in chunks of some size."""
    waiting: list[bytes] = []
    size = 0
    for piece in _pieces(items):
        waiting.append(piece)
        size += len(piece)
        if size >= _CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def _pieces(items: Iterable[Item]) -> Iterator[bytes]:
    for item in items:
        yield _header(item)
        if item.entry.kind is Kind.FILE and not item.hard_link:
            yield from _content(item)
    yield END


def _header(item: Item) -> bytes:
    entry = item.entry
    name = item.path.encode("utf-8", "surrogateescape")
    if entry.is_directory:
        name += b"/"
    return header.pack(
        header.Entry(
            name,
            b"1" if item.hard_link else entry.kind.value.encode(),
            entry.mode,
            entry.uid,
            entry.gid,
            0 if item.hard_link else entry.size,
            entry.mtime,
            link=(item.hard_link or entry.target).encode("utf-8", "surrogateescape"),
            major=entry.device[0],
            minor=entry.device[1],
            xattrs=tuple(sorted(entry.xattrs.items())),
        )
    )


def _content(item: Item) -> Iterator[bytes]:
    """Exactly as many bytes as the header says, whatever happens to the file meanwhile."""
    size = left = item.entry.size
    if item.tree is None:
        yield item.data
        left = 0
    elif left:
        with item.tree.open(item.source) as file:
            while left:
                piece = file.read(min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                left -= len(piece)
                yield piece
    if size % BLOCK:
        yield bytes(-size % BLOCK)
