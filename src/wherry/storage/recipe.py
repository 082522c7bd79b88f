"""How to make a layer's tar stream again from its extracted files, byte by byte.

A recipe is what the stream has besides the files' contents (headers, padding) and, for each
content, the path to take it from. Layers are thus stored once and still leave with the digest
they came with. Written while a layer is extracted; about 1 % of the layer's size.

Records, compressed by zstd: ``M`` u32 length, bytes; ``F`` u32 length of path, u64 offset,
u64 length, path.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from wherry.errors import Conflict, KernelError
from wherry.fs.opening import open_in_root
from wherry.storage.archive.stream import ByteStream, chunks_of

_META = struct.Struct("<cI")
_FILE = struct.Struct("<cIQQ")
_READ = 1 << 18


class RecipeWriter:
    """Writes the recipe of one layer to ``path``; ``aside`` keeps replaced contents."""

    def __init__(self, path: str, aside: str) -> None:
        self._file = open(path, "xb")  # noqa: SIM115 (closed by close)
        self._zstd: BinaryIO = zstandard.ZstdCompressor(level=3).stream_writer(self._file)
        self._aside_directory = aside
        self._aside_counts: dict[bytes, int] = {}

    def meta(self, data: bytes | memoryview) -> None:
        """Bytes of the stream that are in no file."""
        self._zstd.write(_META.pack(b"M", len(data)))
        self._zstd.write(data)

    def content(self, path: bytes, offset: int, length: int) -> None:
        """A piece of the stream that is in a file; it follows the last ``meta``."""
        self._zstd.write(_FILE.pack(b"F", len(path), offset, length) + path)

    def aside(self, directory: int, name: bytes, path: bytes) -> None:
        """Keep the content of a file that a later entry of the same archive replaces."""
        os.makedirs(self._aside_directory, exist_ok=True)
        count = self._aside_counts.get(path, 0)
        self._aside_counts[path] = count + 1
        os.rename(
            name, os.path.join(os.fsencode(self._aside_directory), _aside_name(path, count)),
            src_dir_fd=directory,
        )  # fmt: skip

    def close(self) -> None:
        """Complete the recipe."""
        self._zstd.close()
        self._file.close()


def _aside_name(path: bytes, count: int) -> bytes:
    return f"{hashlib.sha256(path).hexdigest()}-{count}".encode()


def replay(recipe: str, tree: str, aside: str) -> Iterator[bytes]:
    """The tar stream of the layer whose files are in ``tree``.

    Raises Conflict when a file is missing or too short: the layer was changed behind our back.
    The caller compares the digest.
    """
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    seen: dict[tuple[bytes, int], int] = {}
    replaced = bool(os.path.isdir(aside))
    pending = bytearray()
    try:
        with open(recipe, "rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file)
            stream = ByteStream(chunks_of(reader), "layer recipe")
            while not stream.at_end():
                if stream.take(1) == b"M":
                    pending += stream.take(struct.unpack("<I", stream.take(4))[0])
                    if len(pending) >= _READ:
                        yield bytes(pending)
                        pending.clear()
                    continue
                name_length, offset, length = struct.unpack("<IQQ", stream.take(20))
                path = stream.take(name_length)
                descriptor = -1
                if replaced:
                    count = seen.get((path, offset), 0)
                    seen[path, offset] = count + 1
                    descriptor = _open_aside(aside, path, count)
                if descriptor < 0:
                    descriptor = _open_content(root, path)
                try:
                    if length < 1 << 14:
                        pending += _read_exactly(descriptor, offset, length, path)
                        continue
                    if pending:
                        yield bytes(pending)
                        pending.clear()
                    while length:
                        piece = _read_exactly(descriptor, offset, min(length, _READ), path)
                        offset += len(piece)
                        length -= len(piece)
                        yield piece
                finally:
                    os.close(descriptor)
            if pending:
                yield bytes(pending)
    finally:
        os.close(root)


def _open_aside(aside: str, path: bytes, count: int) -> int:
    try:
        return os.open(
            os.path.join(os.fsencode(aside), _aside_name(path, count)), os.O_RDONLY | os.O_CLOEXEC
        )
    except FileNotFoundError:
        return -1


def _open_content(root: int, path: bytes) -> int:
    try:
        return open_in_root(root, os.fsdecode(path), os.O_RDONLY | os.O_NOFOLLOW)
    except KernelError as error:
        raise _changed(path, f"cannot be opened: {os.strerror(error.errno)}") from error


def _read_exactly(descriptor: int, offset: int, length: int, path: bytes) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            raise _changed(path, "is shorter than it was")
        data += more
    return data


def _changed(path: bytes, why: str) -> Conflict:
    return Conflict(f"layer is damaged: file {os.fsdecode(path)!r} {why}")
