"""``docker cp``: paths of a container as archives, and archives into a container."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import posixpath
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from typing import Any

from wherry import faults
from wherry.engine.containers import inside
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services
from wherry.errors import Forbidden, InvalidParameter, KernelError, NotFound
from wherry.fs.opening import open_in_root
from wherry.runtime.identity import read_entries, resolve
from wherry.storage.archive import header
from wherry.storage.archive.compression import decompressed
from wherry.storage.archive.extract import Extractor
from wherry.storage.archive.header import BLOCK, Entry
from wherry.storage.archive.reader import TarReader
from wherry.storage.archive.stream import ByteStream
from wherry.storage.archive.writer import END, tar_tree
from wherry.timestamps import SECOND, rfc3339

_CHUNK = 1 << 18
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

    def work(root: int, sock: socket.socket) -> None:
        found = _Found(root, path, reference)
        inside.send_header(sock, found.view())

    async with inside.helper(services, container, work) as sock:
        return await inside.receive_header(sock)


async def archive_get(
    services: Services, reference: str, path: str
) -> tuple[dict[str, Any], AsyncIterator[bytes]]:
    """``GET /containers/{id}/archive``: what it is, and the archive in pieces."""
    container = await services.settled(reference)

    def work(root: int, sock: socket.socket) -> None:
        found = _Found(root, path, reference)
        inside.send_header(sock, found.view())
        for piece in found.archive():
            sock.sendall(piece)

    stack = contextlib.AsyncExitStack()
    try:
        sock = await stack.enter_async_context(inside.helper(services, container, work))
        view = await inside.receive_header(sock)
    except BaseException:
        await stack.aclose()
        raise
    services.publish(container, "archive-path")

    async def pieces() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        async with stack:
            while data := await loop.sock_recv(sock, _CHUNK):
                yield data

    return view, pieces()


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
    _check_writable(container, path)
    user = container.record.config.user

    def work(root: int, sock: socket.socket) -> None:
        target = _open_folder(root, path, reference)
        owner = _owner(root, user) if copy_uid_gid else None
        inside.send_header(sock, {})
        with sock.makefile("rb") as source:
            stream = ByteStream(decompressed(source, "archive"), "archive")
            Extractor(target, owner=owner, keep_kind=no_overwrite_dir_non_dir).extract(
                TarReader(stream)
            )
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


def _check_writable(container: Container, path: str) -> None:
    """Raise Forbidden for a read-only root or mount."""
    target = posixpath.normpath("/" + path.lstrip("/"))
    covering = [
        point
        for point in container.record.mounts
        if target == point.destination or target.startswith(point.destination.rstrip("/") + "/")
    ]
    if covering:
        deepest = max(covering, key=lambda point: len(point.destination))
        if not deepest.read_write:
            raise Forbidden("mounted volume is marked read-only")
    elif container.record.host.readonly_rootfs:
        raise Forbidden("container rootfs is marked read-only")


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
            found = open_in_root(root, path, os.O_PATH)
        except KernelError:
            return []
        try:
            return read_entries(f"/proc/self/fd/{found}")
        finally:
            os.close(found)

    who = resolve(user, (), entries) if user else None
    return (who.uid, who.gid) if who else (0, 0)


class _Found:
    """A path inside the root that a helper holds."""

    def __init__(self, root: int, path: str, container: str) -> None:
        folder, name = absolute(path)
        self._root = root
        self._path = path
        self._name = name
        self._folder = _open(root, folder, os.O_PATH, container, path)
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
        base = self._inside(self._folder)
        guess = posixpath.normpath(posixpath.join(base, text))
        try:
            target = open_in_root(self._root, guess, os.O_PATH)
        except KernelError:
            return guess
        try:
            return self._inside(target)
        finally:
            os.close(target)

    def _inside(self, descriptor: int) -> str:
        root = os.readlink(f"/proc/self/fd/{self._root}").rstrip("/")
        return os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(root) or "/"

    def archive(self) -> Iterator[bytes]:
        """The tar stream of the path."""
        name = shown_name(self._path).encode(errors="surrogateescape")
        kind = self.status.st_mode
        if stat.S_ISDIR(kind):
            inner = os.open(
                self._name or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._folder
            )
            prefix = name.rstrip(b"/") + b"/"
            yield header.pack(self._entry(prefix, header.DIRECTORY))
            yield from tar_tree(f"/proc/self/fd/{inner}", prefix=prefix, whole_seconds=True)
            return
        yield from self._single(name)
        yield END

    def _single(self, name: bytes) -> Iterator[bytes]:
        kind = self.status.st_mode
        if stat.S_ISLNK(kind):
            link = os.fsencode(os.readlink(self._name, dir_fd=self._folder))
            yield header.pack(self._entry(name, header.SYMLINK)._replace(link=link))
        elif stat.S_ISREG(kind):
            file = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._folder)
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
