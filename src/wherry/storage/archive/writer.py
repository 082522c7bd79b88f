"""A directory as a tar stream: the same tree always gives the same bytes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping

from wherry.errors import KernelError
from wherry.fs.descent import Descent, descending
from wherry.fs.making import attributes
from wherry.fs.opening import DIRECTORY, LONGEST_PATH
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
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without waiting: a FIFO may have taken the place of a file."""
_VANISHED = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EINVAL)
"""What opening a file, or reading a link, that was there a moment ago may say."""
_SECOND = 1_000_000_000
_OVERLAY_XATTRS = ("user.overlay.", "trusted.overlay.")


def tar_tree(
    root: int | str,
    *,
    whiteouts: bool = False,
    prefix: bytes = b"",
    whole_seconds: bool = False,
    chosen: Callable[[bytes], bool] | None = None,
    content: Callable[[bytes, int], None] | None = None,
    removed: Mapping[bytes, Collection[bytes]] | None = None,
) -> Iterator[bytes]:
    """The tar stream of directory ``root``, sorted by name, sockets left out.

    ``root`` is an open directory, or a path whose parents only the engine can write. What is in
    it may change meanwhile: no link is followed, and what vanishes is left out.

    ``whiteouts``: write 0:0 devices and opaque directories as ``.wh.`` entries (image-spec,
    layer.md). ``prefix`` goes before every name. ``whole_seconds`` cuts times down. ``chosen``
    tells whether the entry of a relative path is written; directories are searched in any case.
    ``content`` is told of the (path, size) of a file just before its data. ``removed`` are names
    that directories do not have any more: they become ``.wh.`` entries. Names are relative,
    without a leading "./". Raises KernelError, with ENAMETOOLONG for a tree that is too deep for
    an archive.
    """
    path = root if isinstance(root, str) else "."
    directory = os.open(path, DIRECTORY, dir_fd=None if isinstance(root, str) else root)
    writer = _TreeWriter(directory, whiteouts, prefix)
    writer.granularity = _SECOND if whole_seconds else 1
    writer.chosen = chosen or (lambda _: True)
    writer.content = content or (lambda _path, _size: None)
    writer.removed = removed or {}
    try:
        with descending(directory) as descent:
            yield from writer.tree(descent)
        yield END
    except OSError as error:
        where = os.fsdecode(error.filename or (root if isinstance(root, str) else ""))
        raise KernelError("archive", where, error.errno or errno.EIO) from error
    finally:
        os.close(directory)


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

    def tree(self, descent: Descent) -> Iterator[bytes]:
        """Everything below the directory where ``descent`` stands."""
        pending = [self._names(descent.directory, b"")]
        path, lengths = b"", [0]
        while pending:
            name = next(pending[-1], None)
            if name is None:
                pending.pop()
                path = path[: lengths.pop()]
                if pending:
                    descent.leave()
                continue
            child = path + b"/" + name if path else name
            if len(child) > LONGEST_PATH:
                raise OSError(errno.ENAMETOOLONG, "nested too deep", child[:256] + b"...")
            if name in self.removed.get(path, ()):
                yield self._whiteout(path, name)
                continue
            try:
                found = os.stat(name, dir_fd=descent.directory, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    descent.enter(name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISDIR(found.st_mode):
                if self.chosen(child):
                    yield from self._directory_entry(descent.directory, child)
                pending.append(self._names(descent.directory, child))
                lengths.append(len(path))
                path = child
            elif stat.S_IFMT(found.st_mode) in _KINDS and self.chosen(child):
                yield from self._file(descent.directory, name, found, path, child)

    def _names(self, directory: int, path: bytes) -> Iterator[bytes]:
        names = map(os.fsencode, os.listdir(directory))
        return iter(sorted((*names, *self.removed.get(path, ()))))

    def _directory_entry(self, inner: int, path: bytes) -> Iterator[bytes]:
        found = os.fstat(inner)
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
        if kind == header.REGULAR:
            yield from self._regular(directory, name, path)
            return
        entry = self._entry(found, path, kind, ())
        if kind == header.SYMLINK:
            try:
                link = os.readlink(name, dir_fd=directory)
            except OSError as error:
                if error.errno not in _VANISHED:
                    raise
                return
            entry = entry._replace(link=link)
        yield header.pack(entry)

    def _regular(self, directory: int, name: bytes, path: bytes) -> Iterator[bytes]:
        """The file's entry, exactly as many bytes as that says, and padding."""
        try:
            file = os.open(name, _OPEN_FILE, dir_fd=directory)
        except OSError as error:
            if error.errno not in _VANISHED:
                raise
            return
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                return
            left = found.st_size
            entry = self._entry(found, path, header.REGULAR, _xattrs(file))
            yield header.pack(entry._replace(size=left))
            self.content(path, left)
            while left:
                piece = os.read(file, min(left, _READ)) or bytes(min(left, _READ))
                left -= len(piece)
                yield piece
        finally:
            os.close(file)
        if found.st_size % BLOCK:
            yield bytes(-found.st_size % BLOCK)

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


def _xattrs(file: int) -> tuple[tuple[str, bytes], ...]:
    """The attributes that travel with a file: file capabilities and the user's own.

    Links, devices and FIFOs can have neither (xattr(7), capabilities(7)).
    """
    return tuple(
        (name, value)
        for name, value in attributes(file)
        if name == "security.capability"
        or (name.startswith("user.") and not name.startswith(_OVERLAY_XATTRS))
    )


def _opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
