"""Tar archives as streams of pieces, made without holding them in memory."""

from __future__ import annotations

import io
import os
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed import ReadableBuffer, WriteableBuffer

PIECE = 1 << 18


class Pieces(io.RawIOBase):
    """A file to write to whose content is taken out piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        """It can be written to."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Keep ``data`` until it is taken."""
        piece = bytes(data)
        self._parts.append(piece)
        self.size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return data


class Reader(io.RawIOBase):
    """A file that reads from pieces as they come."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._rest = b""

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer`` with what there is; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = next(self._parts, b"")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class TarStream:
    """Writes members into an archive and yields its bytes as they are made."""

    def __init__(self) -> None:
        self._pieces = Pieces()
        self._archive = tarfile.TarFile.open(
            fileobj=self._pieces, mode="w|", format=tarfile.PAX_FORMAT
        )

    def add(self, path: str, name: str, *, as_root: bool) -> Iterator[bytes]:
        """Add one file, link or directory; sockets are left out. Raises OSError."""
        info = self._archive.gettarinfo(path, name)
        if info is None:
            return
        info.uname = info.gname = ""
        if as_root:
            info.uid = info.gid = 0
        self._archive.addfile(info)
        if info.isreg():
            yield from self._content(path, info.size)
        elif self._pieces.size >= PIECE:
            yield self._pieces.take()

    def _content(self, path: str, size: int) -> Iterator[bytes]:
        """The file's bytes; one that shrinks meanwhile is filled up with zeros."""
        out = self._archive.fileobj
        assert out is not None
        left = size
        with open(path, "rb") as file:
            while left:
                data = file.read(min(left, PIECE)) or bytes(min(left, PIECE))
                left -= len(data)
                out.write(data)
                if self._pieces.size >= PIECE:
                    yield self._pieces.take()
        padding = -size % tarfile.BLOCKSIZE
        out.write(bytes(padding))
        self._archive.offset += size + padding

    def add_bytes(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file of this content, owned by root."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        info.mode = mode
        self._archive.addfile(info, io.BytesIO(content))

    def finish(self) -> bytes:
        """End the archive; its last bytes."""
        self._archive.close()
        return self._pieces.take()


def members(source: str, name: str) -> Iterator[tuple[str, str]]:
    """(path, name) of a file, or of a directory and all below it."""
    yield source, name
    if os.path.isdir(source) and not os.path.islink(source):
        for entry in sorted(os.listdir(source)):
            yield from members(os.path.join(source, entry), f"{name}/{entry}")
