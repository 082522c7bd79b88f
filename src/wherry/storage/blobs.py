"""Blobs by digest: ``<root>/blobs/<algorithm>/<hex>``, the layout of an OCI image directory.

A blob becomes visible only when its digest was checked and its bytes are durable.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, cast

from wherry.errors import InvalidParameter, NotFound
from wherry.linux.files import sync_directory

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})")


def split_digest(digest: str) -> tuple[str, str]:
    """Algorithm and hexadecimal part; InvalidParameter when ``digest`` is not well-formed."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise InvalidParameter(f"invalid digest {digest[:160]!r}")
    return match[1] or match[3], match[2] or match[4]


def digest_of(data: bytes) -> str:
    """The sha256 digest of ``data`` in its "algorithm:hex" form."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class BlobStore:
    """The blobs below ``root``."""

    def __init__(self, root: str) -> None:
        self._blobs = os.path.join(root, "blobs")
        self._partial = os.path.join(self._blobs, ".partial")
        os.makedirs(os.path.join(self._blobs, "sha256"), exist_ok=True)
        os.makedirs(self._partial, exist_ok=True)

    def path(self, digest: str) -> str:
        """Where the blob is, or would be."""
        algorithm, value = split_digest(digest)
        return os.path.join(self._blobs, algorithm, value)

    def has(self, digest: str) -> bool:
        """Whether the blob is stored."""
        return os.path.isfile(self.path(digest))

    def size(self, digest: str) -> int:
        """Size in bytes; NotFound when it is not stored."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not stored") from None

    def open(self, digest: str) -> BinaryIO:
        """The blob for reading; NotFound when it is not stored."""
        try:
            return open(self.path(digest), "rb")
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not stored") from None

    def read(self, digest: str) -> bytes:
        """A small blob (a manifest, a config) in whole, its digest checked again."""
        with self.open(digest) as file:
            data = file.read()
        algorithm, value = split_digest(digest)
        if hashlib.new(algorithm, data).hexdigest() != value:
            raise NotFound(f"blob {digest} is damaged: its content has another digest")
        return data

    def put(self, data: bytes) -> str:
        """Store a small blob; returns its digest."""
        digest = digest_of(data)
        if not self.has(digest):
            with self.ingest() as writer:
                writer.write(data)
                writer.commit(digest)
        return digest

    def ingest(self) -> BlobWriter:
        """A writer for a new blob."""
        return BlobWriter(self, os.path.join(self._partial, secrets.token_hex(8)))

    def delete(self, digest: str) -> None:
        """Remove a blob; nothing happens when it is not stored."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return

    def walk(self) -> Iterator[str]:
        """The digests of all blobs."""
        for algorithm in ("sha256", "sha512"):
            try:
                names = os.listdir(os.path.join(self._blobs, algorithm))
            except FileNotFoundError:
                continue
            for name in sorted(names):
                if _DIGEST.fullmatch(f"{algorithm}:{name}"):
                    yield f"{algorithm}:{name}"

    def clean(self) -> None:
        """Remove what a crash left; call at start-up only."""
        for name in os.listdir(self._partial):
            os.unlink(os.path.join(self._partial, name))


class BlobWriter:
    """Collects the bytes of one blob; ``commit`` makes it visible, leaving without drops it."""

    def __init__(self, store: BlobStore, path: str) -> None:
        self._store = store
        self._path = path
        self._hash = hashlib.sha256()
        self._size = 0
        self._file = cast(BinaryIO, open(path, "xb"))  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
        finally:
            with suppress(FileNotFoundError):
                os.unlink(self._path)

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``."""
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def commit(self, expected: str | None = None, size: int | None = None) -> str:
        """Check size and sha256 digest, make the blob durable and visible; returns the digest.

        Raises InvalidParameter when they differ; nothing is stored then.
        """
        digest = f"sha256:{self._hash.hexdigest()}"
        if expected is not None and digest != expected:
            raise InvalidParameter(f"blob has digest {digest}, expected {expected}")
        if size is not None and size != self._size:
            raise InvalidParameter(f"blob {digest} has {self._size} bytes, expected {size}")
        self._file.flush()
        os.fsync(self._file.fileno())
        target = self._store.path(digest)
        os.rename(self._path, target)
        sync_directory(os.path.dirname(target))
        return digest
