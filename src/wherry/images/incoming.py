"""The files of an image archive, as they come: layers are extracted at once, the rest is kept.

An archive tells only at its end what its files are. What looks like a layer (a tar, compressed or
not) goes through a channel to a thread that extracts it out of sight, while the archive is read
on; all channels together hold a bounded number of bytes. What nothing asks for is dropped.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from wherry.errors import InvalidParameter, KernelError
from wherry.images import reference as references
from wherry.images.config import SIZE_LIMIT
from wherry.images.manifest import Descriptor
from wherry.storage.archive import header
from wherry.storage.archive.channel import Budget, Channel
from wherry.storage.archive.compression import compression_of, decompressed
from wherry.storage.archive.extract import clean
from wherry.storage.archive.header import BLOCK, ZERO_BLOCK, Entry
from wherry.storage.archive.reader import TarReader
from wherry.storage.archive.stream import ByteStream, Readable, ReadAhead, chunks_of
from wherry.storage.layers import LayerStore, StagedLayer

Progress = Callable[[dict[str, Any]], None]
"""Called with messages in the form of the API's progress streams."""

WAITING_BYTES = 32 << 20
EXTRACTORS = min(4, os.cpu_count() or 1)
_PROGRESS_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file on disk."""

    path: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A layer that was in the store already; its bytes were passed over."""

    diff_id: str


_File = _Kept | _Known | Future[StagedLayer]


class Incoming:
    """The files of one archive by name; links are resolved. A context manager.

    ``protect`` comes from the layer store's lease, ``progress`` hears of layers; both may be
    called from any thread.
    """

    def __init__(
        self,
        layers: LayerStore,
        protect: Callable[[str], None],
        progress: Progress | None,
    ) -> None:
        self._layers = layers
        self._protect = protect
        self._progress = progress
        try:
            self._spool = tempfile.TemporaryDirectory(prefix=".load-", dir=layers.directory)
        except OSError as error:
            raise KernelError("load", layers.directory, error.errno or 5) from error
        self._extractors = ThreadPoolExecutor(EXTRACTORS, "load")
        self._budget = Budget(WAITING_BYTES)
        self._staged: list[Future[StagedLayer]] = []
        self._files: dict[str, _File] = {}
        self._links: dict[str, str] = {}

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        self._extractors.shutdown(wait=True)
        for work in self._staged:
            if work.exception() is None:
                self._layers.drop(work.result())
        self._spool.cleanup()

    # Reading -----------------------------------------------------------------------------

    def read(self, stream: Readable) -> None:
        """Take the whole archive in. Raises InvalidParameter when it is damaged."""
        with ReadAhead(decompressed(stream, "image archive")) as ahead:
            reader = TarReader(ByteStream(ahead, "image archive"))
            for entry in reader:
                path = os.fsdecode(b"/".join(clean(entry.name)))
                if entry.kind == header.REGULAR:
                    self._files[path] = self._take(path, entry, reader)
                    self._links.pop(path, None)
                elif entry.kind in (header.SYMLINK, header.HARD_LINK):
                    base = os.path.dirname(path) if entry.kind == header.SYMLINK else ""
                    target = os.fsencode(os.path.join(base, os.fsdecode(entry.link)))
                    self._links[path] = os.fsdecode(b"/".join(clean(target, entry.name)))
                    self._files.pop(path, None)
            reader.drain()

    def _take(self, path: str, entry: Entry, reader: TarReader) -> _File:
        diff_id = path.removeprefix("blobs/").replace("/", ":", 1)
        if references.is_digest(diff_id):
            self._protect(diff_id)
            if self._layers.has(diff_id):
                return _Known(diff_id)
        pieces = reader.content()
        if entry.sparse is not None:
            return self._keep(pieces)
        start = b""
        for _, piece in pieces:
            start += piece
            if len(start) >= BLOCK:
                break
        if not _is_layer(start):
            return self._keep(_from(start, pieces))
        return self._extract(path, entry.size, start, pieces)

    def _keep(self, pieces: Iterable[tuple[int, bytes | memoryview]]) -> _Kept:
        path = os.path.join(self._spool.name, str(len(os.listdir(self._spool.name))))
        try:
            with open(path, "wb") as file:
                for offset, piece in pieces:
                    if offset != file.tell():
                        file.seek(offset)
                    file.write(piece)
        except OSError as error:
            raise KernelError("write image archive", path, error.errno or 5) from error
        return _Kept(path)

    def _extract(
        self, path: str, size: int, start: bytes, pieces: Iterator[tuple[int, memoryview]]
    ) -> Future[StagedLayer]:
        channel = Channel(self._budget)

        def stage() -> StagedLayer:
            try:
                return self._stage(channel, path, size)
            finally:
                channel.abandon()

        work = self._extractors.submit(stage)
        self._staged.append(work)
        try:
            wanted = channel.write(start)
            for _, piece in pieces:
                wanted = wanted and channel.write(bytes(piece))
                if not wanted:
                    break
        except Exception as error:
            channel.finish(error)
            raise
        channel.finish()
        if not wanted and isinstance(work.exception(), KernelError):
            work.result()  # the host has failed, and will for what follows
        return work

    def _stage(self, source: Readable, path: str, size: int) -> StagedLayer:
        if self._progress is not None:
            source = _Reported(source, size, _short(path), self._progress)
        staged = self._layers.stage(decompressed(source, f"layer {path}"))
        try:
            for _ in chunks_of(source):
                pass  # what follows the end of the compressed stream
        except BaseException:
            self._layers.drop(staged)
            raise
        return staged

    # What was read -----------------------------------------------------------------------

    def _find(self, name: str) -> _File | None:
        name = os.fsdecode(b"/".join(clean(os.fsencode(name))))
        for _ in range(8):
            if name not in self._links:
                break
            name = self._links[name]
        return self._files.get(name)

    def data(self, name: str) -> bytes | None:
        """A small file in whole; None when it is not there."""
        found = self._find(name)
        if found is None:
            return None
        if not isinstance(found, _Kept):
            raise InvalidParameter(f"invalid image archive: {name} is a layer")
        if os.path.getsize(found.path) > SIZE_LIMIT:
            raise InvalidParameter(f"invalid image archive: {name} is too large")
        with open(found.path, "rb") as file:
            return file.read()

    def blob(self, descriptor: Descriptor) -> bytes | None:
        """A small blob by descriptor, its digest and size checked; None when it is not there."""
        data = self.data(blob_name(descriptor.digest))
        if data is not None:
            check_digest(data, descriptor.digest)
            if len(data) != descriptor.size:
                raise InvalidParameter(f"blob {descriptor.digest} has a wrong size")
        return data

    def store_layer(self, name: str, diff_id: str) -> None:
        """Register the file ``name`` as layer ``diff_id``, unless the store has that layer.

        Raises InvalidParameter when the file is missing, damaged or another layer.
        """
        self._protect(diff_id)
        if self._layers.has(diff_id):
            return
        found = self._find(name)
        if found is None:
            raise InvalidParameter(f"invalid image archive: layer {name} is missing")
        if isinstance(found, _Known):
            raise InvalidParameter(f"layer has digest {found.diff_id}, expected {diff_id}")
        if isinstance(found, _Kept):
            with open(found.path, "rb") as file:
                staged = self._stage(file, name, os.path.getsize(found.path))
        else:
            staged = found.result()
        self._layers.admit(staged, diff_id)


def _is_layer(start: bytes) -> bool:
    """Whether a file that begins so is a tar or compressed; others are looked at when asked for."""
    if len(start) < BLOCK:
        return False
    if compression_of(start) or start[:BLOCK] == ZERO_BLOCK:
        return True
    try:
        header.parse(start[:BLOCK])
    except InvalidParameter:
        return False
    return True


def _from(
    start: bytes, pieces: Iterable[tuple[int, memoryview]]
) -> Iterator[tuple[int, bytes | memoryview]]:
    yield 0, start
    yield from pieces


def _short(path: str) -> str:
    """Twelve digits by which progress names a layer: of its digest, or of its folder's name."""
    folder, base = os.path.split(path)
    return (base if len(base) >= 64 else os.path.basename(folder) or base)[:12]


def blob_name(digest: str) -> str:
    """Where a blob lies in an OCI image layout."""
    return f"blobs/{digest.replace(':', '/', 1)}"


def check_digest(data: bytes, digest: str) -> None:
    """Raises InvalidParameter when ``data`` does not have ``digest``."""
    algorithm, _, value = digest.partition(":")
    if hashlib.new(algorithm, data).hexdigest() != value:
        raise InvalidParameter(f"blob {digest} is damaged: its content has another digest")


class _Reported:
    """A source of bytes that tells how much of it was read."""

    def __init__(self, source: Readable, total: int, key: str, progress: Progress) -> None:
        self._source = source
        self._total = total
        self._key = key
        self._progress = progress
        self._current = 0
        self._told = -_PROGRESS_STEP

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._current += len(data)
        if self._current - self._told >= _PROGRESS_STEP or (
            not data and self._told != self._current
        ):
            self._told = self._current
            self._progress(
                {
                    "status": "Loading layer",
                    "progressDetail": {"current": self._current, "total": self._total},
                    "id": self._key,
                }
            )
        return data
