"""``docker cp``: paths of a container as archives, and archives into a container."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import posixpath
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, BinaryIO

from wherry import faults
from wherry.engine.containers import inside
from wherry.engine.containers.services import Services
from wherry.errors import Conflict, Forbidden, InvalidParameter, KernelError, NotFound
from wherry.fs.opening import open_directory, open_in_root
from wherry.runtime.identity import entries_of, resolve
from wherry.storage.archive import header
from wherry.storage.archive.compression import decompressed
from wherry.storage.archive.extract import Extractor
from wherry.storage.archive.header import BLOCK, Entry
from wherry.storage.archive.reader import TarReader
from wherry.storage.archive.stream import ByteStream
from wherry.storage.archive.writer import END, tar_tree
from wherry.timestamps import SECOND, rfc3339

_CHUNK = 1 << 18
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DENIED = (errno.EROFS, errno.EACCES, errno.EPERM)
_MODES = (
    (stat.S_ISDIR, 1 << 31),
    (stat.S_ISLNK, 1 << 27),
    (stat.S_ISBLK, 1 << 26),
    (stat.S_ISCHR, 1 << 26 | 1 << 21),
    (stat.S_ISFIFO, 1 << 25),
    (stat.S_ISSOCK, 1 << 24),
)
_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


def file_mode(mode: int) -> int:
    """A mode as Go's ``os.FileMode`` writes it, which is what the API shows."""
    shown = mode & 0o777
    for test, bit in _MODES:
        if test(mode):
            shown |= bit
    for mask, bit in _BITS:
        if mode & mask:
            shown |= bit
    return shown


def absolute(path: str) -> tuple[str, str]:
    """(folder, name) of a requested path: the name's link is not followed.

    A trailing slash or dot means what a last link points at; the name is then "" or ".".
    """
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if path.endswith("/.") or path == ".":
        return clean, "."
    if path.endswith("/") or clean == "/":
        return clean, ""
    return posixpath.dirname(clean), posixpath.basename(clean)


def shown_name(path: str) -> str:
    """What the root of an archive of ``path`` is called."""
    folder, name = absolute(path)
    return name or posixpath.basename(folder) or "/"


async def archive_stat(services: Services, reference: str, path: str) -> dict[str, Any]:
    """``HEAD /containers/{id}/archive``; raises NotFound."""
    container = await services.settled(reference)

    def work(held: inside.Inside, sock: socket.socket) -> None:
        found = _Found(held, path, reference)
        inside.send_header(sock, found.view())

    async with inside.helper(services, container, work) as sock:
        return await inside.receive_header(sock)


@contextlib.asynccontextmanager
async def archive_get(
    services: Services, reference: str, path: str
) -> AsyncIterator[tuple[dict[str, Any], AsyncGenerator[bytes, None]]]:
    """``GET /containers/{id}/archive``: what it is, and the archive in pieces.

    The pieces can be read inside of the context; leaving it ends the work.
    """
    container = await services.settled(reference)

    def work(held: inside.Inside, sock: socket.socket) -> None:
        found = _Found(held, path, reference)
        inside.send_header(sock, found.view())
        for piece in found.archive():
            sock.sendall(piece)

    async with inside.helper(services, container, work) as sock:
        view = await inside.receive_header(sock)
        services.publish(container, "archive-path")
        yield view, inside.pieces(sock)


async def archive_put(
    services: Services,
    reference: str,
    path: str,
    archive: AsyncIterator[bytes],
    *,
    no_overwrite_dir_non_dir: bool,
    copy_uid_gid: bool,
) -> None:
    """``PUT /containers/{id}/archive``: extract into a folder of the container.

    Raises NotFound, InvalidParameter for a bad archive, Forbidden where nothing may be written.
    """
    container = await services.settled(reference)
    user = container.record.config.user

    def work(held: inside.Inside, sock: socket.socket) -> None:
        target = _open_folder(held.root, path, reference)
        _check_writable(held.root, target)
        owner = _owner(held.root, user) if copy_uid_gid else None
        inside.send_header(sock, {})
        with sock.makefile("rb") as source:
            _extract(source, target, owner, no_overwrite_dir_non_dir)
        inside.send_header(sock, {})

    loop = asyncio.get_running_loop()
    async with inside.helper(services, container, work) as sock:
        await inside.receive_header(sock)
        with contextlib.suppress(ConnectionError):
            async for chunk in archive:
                await loop.sock_sendall(sock, chunk)
            sock.shutdown(socket.SHUT_WR)
        await inside.receive_header(sock)
    faults.point("copy.extracted")
    services.publish(container, "extract-to-dir")


def _extract(source: BinaryIO, target: int, owner: tuple[int, int] | None, keep_kind: bool) -> None:
    stream = ByteStream(decompressed(source, "archive"), "archive")
    try:
        Extractor(target, owner=owner, keep_kind=keep_kind).extract(TarReader(stream))
    except KernelError as error:
        if error.errno in _DENIED:
            raise Forbidden(str(error)) from error
        raise


def _check_writable(root: int, target: int) -> None:
    """Raise Forbidden when the open folder, wherever its path has led, is read-only."""
    if os.fstatvfs(target).f_flag & os.ST_RDONLY:
        if os.fstat(target).st_dev == os.fstat(root).st_dev:
            raise Forbidden("container rootfs is marked read-only")
        raise Forbidden("mounted volume is marked read-only")


def _open(root: int, path: str, flags: int, container: str, shown: str) -> int:
    try:
        return open_in_root(root, path, flags)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise NotFound(f"Could not find the file {shown} in container {container}") from None
        raise


def _open_folder(root: int, path: str, container: str) -> int:
    clean = posixpath.normpath("/" + path.lstrip("/"))
    found = _open(root, clean, os.O_PATH, container, path)
    try:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            raise InvalidParameter("extraction point is not a directory")
    finally:
        os.close(found)
    return _open(root, clean, os.O_RDONLY | os.O_DIRECTORY, container, path)


def _owner(root: int, user: str) -> tuple[int, int]:
    """The container's user, looked up in its own files."""

    def entries(path: str) -> list[list[str]]:
        try:
            found = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except KernelError:
            return []
        try:
            return entries_of(found)
        finally:
            os.close(found)

    who = resolve(user, (), entries) if user else None
    return (who.uid, who.gid) if who else (0, 0)


class _Found:
    """A path inside the root that a helper holds."""

    def __init__(self, held: inside.Inside, path: str, container: str) -> None:
        folder, name = absolute(path)
        self._held = held
        self._path = path
        self._name = name
        self._folder = _open(held.root, folder, os.O_PATH, container, path)
        if not stat.S_ISDIR(os.fstat(self._folder).st_mode):
            raise NotFound(f"Could not find the file {path} in container {container}")
        try:
            self.status = os.stat(name or ".", dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            raise NotFound(f"Could not find the file {path} in container {container}") from None

    def view(self) -> dict[str, Any]:
        """The path's description in the API's form."""
        return {
            "name": shown_name(self._path),
            "size": self.status.st_size,
            "mode": file_mode(self.status.st_mode),
            "mtime": rfc3339(self.status.st_mtime_ns),
            "linkTarget": self._link_target(),
        }

    def _link_target(self) -> str:
        """Where a link leads in the end, as a path of the container."""
        if not stat.S_ISLNK(self.status.st_mode):
            return ""
        text = os.readlink(self._name, dir_fd=self._folder)
        base = self._held.path_of(self._folder)
        guess = posixpath.normpath(posixpath.join(base, text))
        try:
            target = open_in_root(self._held.root, guess, os.O_PATH)
        except KernelError:
            return guess
        try:
            return self._held.path_of(target)
        finally:
            os.close(target)

    def archive(self) -> Iterator[bytes]:
        """The tar stream of the path."""
        name = shown_name(self._path).encode(errors="surrogateescape")
        kind = self.status.st_mode
        if stat.S_ISDIR(kind):
            inner = open_directory(self._name or ".", self._folder)
            prefix = name.rstrip(b"/") + b"/"
            yield header.pack(self._entry(prefix, header.DIRECTORY))
            yield from tar_tree(inner, prefix=prefix, whole_seconds=True)
            return
        yield from self._single(name)
        yield END

    def _single(self, name: bytes) -> Iterator[bytes]:
        kind = self.status.st_mode
        if stat.S_ISLNK(kind):
            link = os.fsencode(os.readlink(self._name, dir_fd=self._folder))
            yield header.pack(self._entry(name, header.SYMLINK)._replace(link=link))
        elif stat.S_ISREG(kind):
            file = os.open(self._name, _READ, dir_fd=self._folder)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise Conflict(f"{self._path} is being replaced")
            size = os.fstat(file).st_size
            yield header.pack(self._entry(name, header.REGULAR)._replace(size=size))
            left = size
            while left:
                piece = os.read(file, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                left -= len(piece)
                yield piece
            yield bytes(-size % BLOCK)
        elif stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
            sort = header.CHAR if stat.S_ISCHR(kind) else header.BLOCK_DEVICE
            device = self.status.st_rdev
            yield header.pack(
                self._entry(name, sort)._replace(major=os.major(device), minor=os.minor(device))
            )
        elif stat.S_ISFIFO(kind):
            yield header.pack(self._entry(name, header.FIFO))

    def _entry(self, name: bytes, kind: bytes) -> Entry:
        found = self.status
        return Entry(
            name, kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, 0,
            found.st_mtime_ns // SECOND * SECOND,
        )  # fmt: skip
