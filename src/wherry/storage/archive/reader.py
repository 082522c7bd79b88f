"""Reading a tar stream entry by entry, within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wherry.errors import InvalidParameter
from wherry.fs.opening import LONGEST_PATH
from wherry.storage.archive import header
from wherry.storage.archive.header import BLOCK, ZERO_BLOCK, Entry, bad
from wherry.storage.archive.stream import ByteStream


@dataclass(frozen=True, slots=True)
class Limits:
    """What one archive may ask for; beyond it InvalidParameter is raised.

    ``size`` counts the files' sizes with their holes, ``extension`` the bytes of one pax or GNU
    extension, ``path`` the bytes of a name: a tree may be deeper than PATH_MAX.
    """

    entries: int = 5_000_000
    size: int = 256 << 30
    extension: int = 1 << 20
    path: int = LONGEST_PATH


DEFAULT_LIMITS = Limits()

_EXTENSIONS = (header.PAX, header.GNU_LONG_NAME, header.GNU_LONG_LINK)
_WITHOUT_DATA = (
    header.HARD_LINK, header.SYMLINK, header.CHAR, header.BLOCK_DEVICE, header.DIRECTORY,
    header.FIFO,
)  # fmt: skip
"""A size on a hard link is the size of its target in some tars, without data."""


def _ignore(_: bytes | memoryview) -> None:
    """The default listener."""


class TarReader:
    """Iterates over the entries of a stream; ``content`` yields the current entry's data.

    ``on_meta`` sees, in order, every byte of the stream that ``content`` did not yield: headers,
    padding, skipped data, the end. With the contents it is enough to make the stream again.
    """

    def __init__(
        self,
        stream: ByteStream,
        limits: Limits = DEFAULT_LIMITS,
        on_meta: Callable[[bytes | memoryview], None] = _ignore,
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._on_meta = on_meta
        self._left = 0
        self._padding = 0
        self._entry: Entry | None = None

    def __iter__(self) -> Iterator[Entry]:
        count = total = 0
        while (entry := self._next()) is not None:
            count += 1
            total += entry.real_size if entry.sparse is not None else entry.size
            if count > self._limits.entries:
                raise InvalidParameter(f"archive has more than {self._limits.entries} entries")
            if total > self._limits.size:
                raise bad(
                    entry.name,
                    f"the archive's files are larger than the limit of {self._limits.size} bytes",
                )
            self._entry = entry
            yield entry
            self._skip()

    def content(self) -> Iterator[tuple[int, memoryview]]:
        """Pieces of the current entry's data, each with its offset in the file."""
        entry = self._entry
        assert entry is not None
        extents = ((0, self._left),) if entry.sparse is None else entry.sparse
        for offset, length in extents:
            for piece in self._stream.pieces(length):
                self._left -= len(piece)
                yield offset, piece
                offset += len(piece)

    @property
    def position(self) -> int:
        """Bytes of the stream that were read."""
        return self._stream.position

    def drain(self) -> None:
        """Read what follows the end marker, so that a hash of the stream covers all of it."""
        for piece in self._stream.rest():
            self._on_meta(piece)

    def _skip(self) -> None:
        for piece in self._stream.pieces(self._left):
            self._on_meta(piece)
        # What fills up the last block may be missing, as in archives of Docker's own client.
        while self._padding and (filling := self._stream.read(self._padding)):
            self._on_meta(filling)
            self._padding -= len(filling)
        self._left = self._padding = 0

    def _meta(self, count: int) -> bytes:
        data = self._stream.take(count)
        self._on_meta(data)
        return data

    def _next(self) -> Entry | None:
        records: dict[str, bytes] = {}
        pairs: list[tuple[int, int]] = []
        block = self._header(records, pairs)
        if block is None:
            return None
        entry = header.parse(block)
        if records:
            entry = _extended(entry, records)
        # Directories of the time before ustar; the whole name tells, not the part in the header.
        if entry.kind == header.REGULAR and entry.name.endswith(b"/"):
            entry = entry._replace(kind=header.DIRECTORY)
        stored = entry.size
        if entry.kind in _WITHOUT_DATA:
            stored = 0
            entry = entry._replace(size=0)
        self._left = stored
        self._padding = -stored % BLOCK
        if entry.kind == header.GNU_SPARSE or "GNU.sparse.major" in records or pairs:
            entry = self._sparse(entry, block, records, pairs)
        if len(entry.name) > self._limits.path:
            raise bad(entry.name[:80], f"name is longer than {self._limits.path} bytes")
        if b"\0" in entry.name or b"\0" in entry.link:
            raise bad(entry.name, "name contains a NUL byte")
        return entry

    def _header(self, records: dict[str, bytes], pairs: list[tuple[int, int]]) -> bytes | None:
        """The next header that is a file's; what extended headers before it say is collected.

        None at the end of the archive; no end marker is needed, as by every tar.
        """
        extensions = 0
        while True:
            if self._stream.at_end():
                if records:
                    raise InvalidParameter("archive is truncated after an extended header")
                return None
            block = self._meta(BLOCK)
            if block == ZERO_BLOCK:
                return None
            entry = header.parse(block)
            if entry.kind == header.PAX_GLOBAL:
                self._extension(entry)
                continue
            if entry.kind not in _EXTENSIONS:
                return block
            extensions += 1
            if extensions > 8:
                raise bad(entry.name, "too many extended headers for one entry")
            data = self._extension(entry)
            if entry.kind == header.PAX:
                pairs += _collect(header.pax_records(data), records)
            else:
                key = "path" if entry.kind == header.GNU_LONG_NAME else "linkpath"
                records[key] = header.text(data)

    def _extension(self, entry: Entry) -> bytes:
        if entry.size > self._limits.extension:
            raise bad(entry.name, f"extended header is larger than {self._limits.extension} bytes")
        return self._meta(entry.size + -entry.size % BLOCK)[: entry.size]

    def _sparse(
        self,
        entry: Entry,
        block: bytes,
        records: dict[str, bytes],
        pairs: list[tuple[int, int]],
    ) -> Entry:
        if entry.kind == header.GNU_SPARSE:
            pairs = header.old_sparse_map(block, 386, 4)
            real_size = header.number(block[483:495], entry.name)
            more = block[482] != 0
            while more:
                block = self._meta(BLOCK)
                pairs += header.old_sparse_map(block, 0, 21)
                more = block[504] != 0
                if len(pairs) > self._limits.entries:
                    raise bad(entry.name, "sparse map is too long")
        else:
            size = records.get("GNU.sparse.realsize", records.get("GNU.sparse.size", b""))
            real_size = header.pax_number(size, entry.name)
            if records.get("GNU.sparse.major") == b"1":
                pairs = self._sparse_map(entry)
        position = 0
        for offset, length in pairs:
            if offset < position or length < 0 or offset + length > real_size:
                raise bad(entry.name, "sparse map is not in order")
            position = offset + length
        if sum(length for _, length in pairs) != self._left:
            raise bad(entry.name, "sparse map does not fit the stored size")
        return entry._replace(kind=header.REGULAR, sparse=tuple(pairs), real_size=real_size)

    def _sparse_map(self, entry: Entry) -> list[tuple[int, int]]:
        """The map that GNU's sparse format 1.0 puts before the data: lines in whole blocks."""
        data = b""

        def line(position: int) -> tuple[int, int]:
            nonlocal data
            while (end := data.find(b"\n", position)) < 0:
                if self._left < BLOCK or len(data) > self._limits.extension:
                    raise bad(entry.name, "sparse map is damaged")
                data += self._meta(BLOCK)
                self._left -= BLOCK
            return header.pax_number(data[position:end], entry.name), end + 1

        count, position = line(0)
        if count > self._limits.entries:
            raise bad(entry.name, "sparse map is too long")
        pairs = []
        for _ in range(count):
            offset, position = line(position)
            length, position = line(position)
            pairs.append((offset, length))
        return pairs


def _collect(items: list[tuple[str, bytes]], records: dict[str, bytes]) -> list[tuple[int, int]]:
    """Put pax records into ``records``; returns the pairs of GNU's sparse formats 0.0 and 0.1."""
    pairs: list[tuple[int, int]] = []
    offset = 0
    for key, value in items:
        if key == "GNU.sparse.offset":
            offset = header.pax_number(value, b"")
        elif key == "GNU.sparse.numbytes":
            pairs.append((offset, header.pax_number(value, b"")))
        elif key == "GNU.sparse.map":
            numbers = [header.pax_number(item, b"") for item in value.split(b",") if item]
            pairs += zip(numbers[::2], numbers[1::2], strict=False)
        else:
            records[key] = value
    return pairs


def _extended(entry: Entry, records: dict[str, bytes]) -> Entry:
    """``entry`` with the values that its extended headers override."""
    name = records.get("GNU.sparse.name") or records.get("path") or entry.name
    link = records.get("linkpath") or entry.link
    xattrs = tuple(
        (key.removeprefix(header.XATTR_PREFIX), value)
        for key, value in records.items()
        if key.startswith(header.XATTR_PREFIX)
    )
    return entry._replace(
        name=name,
        link=link,
        xattrs=xattrs,
        uid=_override(records, "uid", entry.uid, name),
        gid=_override(records, "gid", entry.gid, name),
        size=_override(records, "size", entry.size, name),
        mtime=header.pax_time(records["mtime"], name) if "mtime" in records else entry.mtime,
    )


def _override(records: dict[str, bytes], key: str, value: int, name: bytes) -> int:
    return header.pax_number(records[key], name) if records.get(key) else value
