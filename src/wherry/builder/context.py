"""A build context that came as a tar stream: kept as one file, read through an index.

Nothing is unpacked: COPY takes files straight from the archive into the layer, and links inside
the context can lead nowhere else. ``unpack`` makes real files for the few uses that need them.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import IO

import zstandard
from isal import igzip

from wherry.builder.trees import (
    Entry,
    Kind,
    Tree,
    TreeError,
    content_digest,
    normalise,
    walk,
)
from wherry.dockerignore import Matcher
from wherry.errors import InvalidParameter, WherryError
from wherry.fs.descent import descending
from wherry.fs.making import Metadata, describe, describe_name, make_file
from wherry.storage.archive import header
from wherry.storage.archive.reader import Limits, TarReader
from wherry.storage.archive.stream import ByteStream, chunks_of

_CHUNK = 1 << 18
_MAGIC = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_KINDS = {kind.value.encode(): kind for kind in Kind}
_SMALL = 1 << 16
_DECODE_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def compression(head: bytes) -> str:
    """The name of the compression that the first bytes show; empty for none."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def decompressed(stream: IO[bytes]) -> IO[bytes]:
    """``stream`` without its compression, whichever it has."""
    buffered = io.BufferedReader(_Raw(stream), _CHUNK)
    match compression(buffered.peek(6)[:6]):
        case "gzip":
            unzipped: IO[bytes] = igzip.open(buffered, "rb")  # type: ignore[no-untyped-call]
            return unzipped
        case "bzip2":
            return bz2.BZ2File(buffered)
        case "xz":
            return lzma.LZMAFile(buffered)
        case "zstd":
            reader = zstandard.ZstdDecompressor().stream_reader(buffered, read_across_frames=True)
            return io.BufferedReader(reader, _CHUNK)
    return buffered


def copy_decompressed(
    source: IO[bytes], destination: IO[bytes], limit: int, beyond: WherryError | None = None
) -> int:
    """Copy; returns the number of bytes.

    Raises ``beyond`` (default: InvalidParameter) when it is more than ``limit`` bytes.
    """
    total = 0
    try:
        stream = decompressed(source)
        while chunk := stream.read(_CHUNK):
            total += len(chunk)
            if total > limit:
                raise beyond or InvalidParameter(
                    f"read build context: it is larger than {limit} bytes when decompressed"
                )
            destination.write(chunk)
    except _DECODE_ERRORS as error:
        raise InvalidParameter(f"read build context: {error}") from None
    return total


class SpooledTree:
    """A tree whose files' content lies in one seekable file; see `trees.Tree`.

    What makes one inserts every entry, then the tree is only read.
    """

    def __init__(self, spool: IO[bytes]) -> None:
        self._spool = spool
        self._entries: dict[str, Entry] = {"": Entry(Kind.DIRECTORY, 0o755)}
        self._offsets: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        self._children: dict[str, set[str]] = {"": set()}

    def insert(self, path: str, entry: Entry, offset: int | None = None) -> None:
        """Put an entry at a normal path; a file's content begins at ``offset`` of the spool."""
        old = self._entries.get(path)
        if old is not None and old.is_directory and not entry.is_directory:
            self._remove(path)
        self._entries[path] = entry
        self._digests.pop(path, None)
        if offset is None:
            self._offsets.pop(path, None)
        else:
            self._offsets[path] = offset
        if entry.is_directory:
            self._children.setdefault(path, set())
        while path:
            parent, _, name = path.rpartition("/")
            siblings = self._children.setdefault(parent, set())
            if name in siblings:
                return
            siblings.add(name)
            known = self._entries.get(parent)
            if known is None or not known.is_directory:
                self._entries[parent] = Entry(Kind.DIRECTORY, 0o755)
                self._offsets.pop(parent, None)
            path = parent

    def adopt(self, path: str, other: SpooledTree) -> None:
        """Put the file at ``path`` of a tree on the same spool here, content and digest with it."""
        self.insert(path, other._entries[path], other._offsets[path])
        if (digest := other._digests.get(path)) is not None:
            self._digests[path] = digest

    def files(self) -> Iterator[tuple[str, Entry]]:
        """All regular files."""
        for path, entry in self._entries.items():
            if entry.kind is Kind.FILE:
                yield path, entry

    def link(self, path: str, target: str) -> bool:
        """Put another name of the file ``target`` at ``path``; False when there is no such file."""
        if target not in self._offsets:
            return False
        entry, offset = self._entries[target], self._offsets[target]
        if entry.size:  # two files that are empty may share an offset
            entry = self._entries[target] = replace(entry, inode=(0, offset))
        self.insert(path, entry, offset)
        return True

    def _remove(self, path: str) -> None:
        doomed = [path]
        while doomed:
            here = doomed.pop()
            doomed += (f"{here}/{name}" if here else name for name in self._children.pop(here, ()))
            self._entries.pop(here, None)
            self._offsets.pop(here, None)
        parent, _, name = path.rpartition("/")
        if path:
            self._children.get(parent, set()).discard(name)

    def entry(self, path: str) -> Entry | None:
        """See `trees.Tree`."""
        return self._entries.get(path)

    def children(self, path: str) -> list[str]:
        """See `trees.Tree`."""
        return sorted(self._children.get(path, ()))

    def open(self, path: str) -> io.BufferedReader:
        """See `trees.Tree`."""
        entry = self._entries.get(path)
        offset = self._offsets.get(path)
        if entry is None or offset is None:
            raise TreeError(f"open {path}: no such file in the build context")
        buffer = max(1, min(entry.size, _CHUNK))
        return io.BufferedReader(_Slice(self._spool.fileno(), offset, entry.size), buffer)

    def digest(self, path: str) -> str:
        """See `trees.Tree`; computed once."""
        known = self._digests.get(path)
        if known is None:
            with self.open(path) as file:
                known = self._digests[path] = content_digest(file)
        return known

    def take(self, path: str) -> SpooledTree:
        """Take a directory out; returns it as a tree of its own, which shares the file.

        Raises InvalidParameter when there is none.
        """
        root = normalise(path)
        entry = self._entries.get(root)
        if not root or entry is None or not entry.is_directory:
            raise InvalidParameter(f"build context has no directory {path}")
        taken = SpooledTree(self._spool)
        for name in walk(self, root):
            taken.insert(name[len(root) + 1 :], self._entries[name], self._offsets.get(name))
        self._remove(root)
        return taken

    def exclude(self, patterns: Iterable[str]) -> None:
        """Drop what the patterns of a ``.dockerignore`` leave out.

        Directories stay while something in them stays.
        """
        matcher = Matcher(patterns)
        for path in sorted(self._entries, reverse=True):
            if path and matcher.excludes(path) and not self._children.get(path):
                self._remove(path)

    def close(self) -> None:
        """Close the file that holds the content."""
        self._spool.close()


class TarTree(SpooledTree):
    """The tree of files in an uncompressed tar archive (a seekable file, at its beginning)."""

    def __init__(self, archive: IO[bytes], *, max_entries: int = 5_000_000) -> None:
        """Read the index. Raises InvalidParameter when ``archive`` is no sound tar archive."""
        super().__init__(archive)
        stream = ByteStream(chunks_of(archive, _CHUNK))
        reader = TarReader(stream, Limits(entries=max_entries))
        try:
            for member in reader:
                self._add(member, reader)
        except InvalidParameter as error:
            raise InvalidParameter(f"read build context: {error}") from None

    def _add(self, member: header.Entry, reader: TarReader) -> None:
        path = normalise(member.name.decode("utf-8", "surrogateescape"))
        link = member.link.decode("utf-8", "surrogateescape")
        if member.kind == header.HARD_LINK:
            if not self.link(path, normalise(link)):
                raise header.bad(member.name, "the hard link leads to no file")
            return
        kind = _KINDS.get(member.kind)
        if kind is None:
            return  # something that is no file
        if member.sparse is not None:
            raise header.bad(member.name, "sparse files are not read: make the archive without -S")
        entry = Entry(
            kind,
            0o777 if kind is Kind.SYMLINK else member.mode & 0o7777,  # as symlink(2) makes them
            member.uid,
            member.gid,
            member.size if kind is Kind.FILE else 0,
            member.mtime,
            link if kind is Kind.SYMLINK else "",
            (member.major, member.minor) if kind in (Kind.CHARACTER, Kind.BLOCK) else (0, 0),
            dict(member.xattrs),
        )
        if kind is not Kind.FILE:
            self.insert(path, entry)
            return
        self.insert(path, entry, reader.position)
        if member.size <= _SMALL:  # cheaper now, while it is at hand
            digest = hashlib.sha256()
            for _, piece in reader.content():
                digest.update(piece)
            self._digests[path] = digest.hexdigest()


class _Slice(io.RawIOBase):
    """A part of a file; does not move the file's own position."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd = fd
        self._offset = offset
        self._end = offset + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._end - self._offset)
        data = os.pread(self._fd, wanted, self._offset)
        if wanted and not data:
            raise TreeError("read build context: the archive ends within a file")
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)


class _Raw(io.RawIOBase):
    """Any object with ``read`` as a raw stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def unpack(tree: Tree, path: str, directory: int) -> None:
    """Make real files of the directory at ``path`` in an open, empty directory.

    Nobody else may be able to enter that yet. Only names that the tree itself lists are written,
    each below a directory made here; no link is followed, and any depth will do.
    """
    above: list[tuple[str, Entry]] = []
    with descending(directory) as here:

        def leave() -> None:
            _, entry = above.pop()
            describe(here.directory, _metadata(entry))
            here.leave()

        for below in walk(tree, path):
            entry = tree.entry(below)
            parent, _, name = below.rpartition("/")
            while parent != (above[-1][0] if above else path):
                leave()
            if entry is None or name in ("", ".", ".."):
                continue
            if entry.is_directory:
                os.mkdir(name, 0o700, dir_fd=here.directory)
                here.enter(name)
                above.append((below, entry))
            elif entry.kind is Kind.SYMLINK:
                os.symlink(entry.target, name, dir_fd=here.directory)
                describe_name(here.directory, name, _metadata(entry))
            elif entry.kind is Kind.FILE:
                with tree.open(below) as source:
                    unpack_file(source, entry, here.directory, name)
        while above:
            leave()


def unpack_file(source: IO[bytes], entry: Entry, directory: int, name: str) -> None:
    """Make a real file ``name`` of one of a tree in an open directory."""
    with open(make_file(directory, name), "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        file.flush()
        describe(file.fileno(), _metadata(entry))


def _metadata(entry: Entry) -> Metadata:
    """Files for one command belong to root, whoever owned them."""
    return Metadata(entry.mode, 0, 0, entry.mtime)
