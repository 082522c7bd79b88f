"""A directory as a tar stream: the same tree always gives the same bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping

from wherry.errors import KernelError
from wherry.storage.archive import header
from wherry.storage.archive.extract import OPAQUE, OPAQUE_XATTR, WHITEOUT
from wherry.storage.archive.header import BLOCK, Entry

END = bytes(2 * BLOCK)
_READ = 1 << 18
_KINDS = {
    stat.S_IFREG: header.REGULAR,
    stat.S_IFDIR: header.DIRECTORY,
    stat.S_IFLNK: header.SYMLINK,
    stat.S_IFCHR: header.CHAR,
    stat.S_IFBLK: header.BLOCK_DEVICE,
    stat.S_IFIFO: header.FIFO,
}
_SECOND = 1_000_000_000
_OVERLAY_XATTRS = ("user.overlay.", "trusted.overlay.")


def tar_tree(
    root: str,
    *,
    whiteouts: bool = False,
    prefix: bytes = b"",
    whole_seconds: bool = False,
    chosen: Callable[[bytes], bool] | None = None,
    content: Callable[[bytes, int], None] | None = None,
    removed: Mapping[bytes, Collection[bytes]] | None = None,
) -> Iterator[bytes]:
    """The tar stream of directory ``root``, sorted by name, sockets left out.

    ``whiteouts``: write 0:0 devices and opaque directories as ``.wh.`` entries (image-spec,
    layer.md). ``prefix`` goes before every name. ``whole_seconds`` cuts times down. ``chosen``
    tells whether the entry of a relative path is written; directories are searched in any case.
    ``content`` is told of the (path, size) of a file just before its data. ``removed`` are names
    that directories do not have any more: they become ``.wh.`` entries. Names are relative,
    without a leading "./".
    """
    writer = _TreeWriter(os.open(root, os.O_RDONLY | os.O_DIRECTORY), whiteouts, prefix)
    writer.granularity = _SECOND if whole_seconds else 1
    writer.chosen = chosen or (lambda _: True)
    writer.content = content or (lambda _path, _size: None)
    writer.removed = removed or {}
    try:
        yield from writer.directory(writer.root, b"")
        yield END
    except OSError as error:
        raise KernelError(
            "archive", os.fsdecode(error.filename or root), error.errno or 5
        ) from error
    finally:
        os.close(writer.root)


def tar_file(name: bytes, data: bytes, mode: int = 0o644, mtime: int = 0) -> bytes:
    """One regular file of root's as a piece of a tar stream; ``mtime`` in nanoseconds."""
    entry = Entry(name, header.REGULAR, mode, 0, 0, len(data), mtime)
    return header.pack(entry) + data + bytes(-len(data) % BLOCK)


class _TreeWriter:
    chosen: Callable[[bytes], bool]
    content: Callable[[bytes, int], None]
    removed: Mapping[bytes, Collection[bytes]]
    granularity: int

    def __init__(self, root: int, whiteouts: bool, prefix: bytes) -> None:
        self.root = root
        self._whiteouts = whiteouts
        self._prefix = prefix
        self._links: dict[tuple[int, int], bytes] = {}

    def directory(self, descriptor: int, path: bytes) -> Iterator[bytes]:
        """Everything below an open directory."""
        removed = self.removed.get(path, ())
        for name in sorted((*map(os.fsencode, os.listdir(descriptor)), *removed)):
            child = path + b"/" + name if path else name
            if name in removed:
                yield self._whiteout(path, name)
                continue
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            kind = stat.S_IFMT(found.st_mode)
            if kind == stat.S_IFDIR:
                inner = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor
                )
                try:
                    if self.chosen(child):
                        yield from self._directory_entry(inner, found, child)
                    yield from self.directory(inner, child)
                finally:
                    os.close(inner)
            elif kind in _KINDS and self.chosen(child):
                yield from self._file(descriptor, name, found, path, child)

    def _directory_entry(self, inner: int, found: os.stat_result, path: bytes) -> Iterator[bytes]:
        xattrs = _xattrs(inner)
        yield header.pack(self._entry(found, path + b"/", header.DIRECTORY, xattrs))
        if self._whiteouts and _opaque(inner):
            opaque = Entry(b"", header.REGULAR, 0, 0, 0, 0, 0)
            yield header.pack(opaque._replace(name=self._prefix + path + b"/" + OPAQUE))

    def _whiteout(self, parent: bytes, name: bytes) -> bytes:
        """The entry that says that a directory has a name no more."""
        hidden = WHITEOUT + name
        full = parent + b"/" + hidden if parent else hidden
        return header.pack(Entry(self._prefix + full, header.REGULAR, 0, 0, 0, 0, 0))

    def _file(
        self, directory: int, name: bytes, found: os.stat_result, parent: bytes, path: bytes
    ) -> Iterator[bytes]:
        kind = _KINDS[stat.S_IFMT(found.st_mode)]
        if self._whiteouts and kind == header.CHAR and found.st_rdev == 0:
            yield self._whiteout(parent, name)
            return
        if found.st_nlink > 1:
            key = (found.st_dev, found.st_ino)
            first = self._links.setdefault(key, path)
            if first != path:
                entry = self._entry(found, path, header.HARD_LINK, ())
                yield header.pack(entry._replace(link=self._prefix + first))
                return
        xattrs = _xattrs(b"/proc/self/fd/%d/%s" % (directory, name))
        entry = self._entry(found, path, kind, xattrs)
        if kind == header.SYMLINK:
            entry = entry._replace(link=os.fsencode(os.readlink(name, dir_fd=directory)))
        if kind != header.REGULAR:
            yield header.pack(entry)
            return
        yield header.pack(entry._replace(size=found.st_size))
        self.content(path, found.st_size)
        yield from self._data(directory, name, found.st_size)

    def _data(self, directory: int, name: bytes, size: int) -> Iterator[bytes]:
        """Exactly ``size`` bytes and padding, whatever happens to the file meanwhile."""
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            left = size
            while left:
                piece = os.read(file, min(left, _READ)) or bytes(min(left, _READ))
                left -= len(piece)
                yield piece
        finally:
            os.close(file)
        if size % BLOCK:
            yield bytes(-size % BLOCK)

    def _entry(
        self, found: os.stat_result, path: bytes, kind: bytes, xattrs: tuple[tuple[str, bytes], ...]
    ) -> Entry:
        device = kind in (header.CHAR, header.BLOCK_DEVICE)
        return Entry(
            self._prefix + path,
            kind,
            stat.S_IMODE(found.st_mode),
            found.st_uid,
            found.st_gid,
            0,
            found.st_mtime_ns // self.granularity * self.granularity,
            major=os.major(found.st_rdev) if device else 0,
            minor=os.minor(found.st_rdev) if device else 0,
            xattrs=xattrs,
        )


def _xattrs(file: int | bytes) -> tuple[tuple[str, bytes], ...]:
    """The attributes that travel with a file: file capabilities and the user's own."""
    follow = isinstance(file, int)
    try:
        names = os.listxattr(file) if follow else os.listxattr(file, follow_symlinks=False)
    except OSError:
        return ()
    wanted = sorted(
        name
        for name in names
        if name == "security.capability"
        or (name.startswith("user.") and not name.startswith(_OVERLAY_XATTRS))
    )
    read = os.getxattr
    return tuple(
        (name, read(file, name) if follow else read(file, name, follow_symlinks=False))
        for name in wanted
    )


def _opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
