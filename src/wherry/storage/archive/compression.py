"""Decompression by magic number: gzip, zstd, xz, bzip2. Never by an outside program."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Iterator
from typing import BinaryIO, cast

import zstandard
from isal import igzip, isal_zlib

from wherry.errors import InvalidParameter
from wherry.storage.archive.stream import CHUNK, Readable, chunks_of

_GZIP_ERROR = cast("type[Exception]", isal_zlib.error)

_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
)


def compression_of(start: bytes) -> str:
    """The compression that the first bytes of a stream tell: "" when there is none."""
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    # Skippable frames have 16 magic numbers (RFC 8878, 3.1.2).
    if len(start) >= 4 and start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50:
        return "zstd"
    return ""


class _Replayed:
    """A source whose first bytes were looked at already; errors of it pass through untouched."""

    def __init__(self, start: bytes, source: Readable) -> None:
        self._start = start
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        if self._start:
            if size < 0:
                size = CHUNK
            start, self._start = self._start[:size], self._start[size:]
            return start
        return self._source.read(CHUNK if size < 0 else size)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        return False

    def readable(self) -> bool:
        return True


def decompressed(source: Readable, what: str = "archive") -> Iterator[bytes]:
    """The chunks of ``source`` after gzip, zstd, xz, bzip2 or no compression.

    Concatenated members are one stream. InvalidParameter when the compressed data is damaged.
    """
    start = b""
    while len(start) < 6 and (more := source.read(6 - len(start))):
        start += more
    kind = compression_of(start)
    plain = _Replayed(start, source)
    if not kind:
        yield from chunks_of(plain)
        return
    reader: Readable
    file = cast(BinaryIO, plain)
    if kind == "gzip":
        reader = igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]
    elif kind == "zstd":
        window = 1 << 27  # what `zstd` itself accepts without --long
        reader = zstandard.ZstdDecompressor(max_window_size=window).stream_reader(
            file, read_across_frames=True
        )
    elif kind == "xz":
        reader = lzma.LZMAFile(file)  # noqa: SIM115 (holds no descriptor of its own)
    else:
        reader = bz2.BZ2File(file)
    while True:
        try:
            chunk = reader.read(CHUNK)
        except (EOFError, zstandard.ZstdError, lzma.LZMAError, ValueError) as error:
            raise InvalidParameter(f"{what}: {kind} data is damaged: {error}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise InvalidParameter(f"{what}: {kind} data is damaged: {error}") from error
        except _GZIP_ERROR as error:
            raise InvalidParameter(f"{what}: {kind} data is damaged: {error}") from error
        if not chunk:
            return
        yield chunk
