"""Extraction of a tar stream into a directory, which it cannot leave.

Every parent directory is opened by the kernel with the target as its root (``open_in_root``), and
every entry is then made by its last name below that descriptor, never following a link there.
What is made is described through its own descriptor. So others may write in the target, too: they
can spoil what they get, and reach nothing outside of it.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from wherry.errors import InvalidParameter, KernelError
from wherry.fs.descent import descending
from wherry.fs.making import Metadata, describe, describe_name, make_file
from wherry.fs.opening import open_directory, open_in_root
from wherry.fs.removing import remove_tree
from wherry.storage.archive import header
from wherry.storage.archive.header import Entry, bad
from wherry.storage.archive.reader import TarReader

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
OPAQUE_XATTR = "user.overlay.opaque"
_OVERLAY_XATTRS = ("user.overlay.", "trusted.overlay.")
_IMPLIED_MODE = 0o755
_OPEN_DIRECTORIES = 64
_IMPLIED = 1_000_000
"""Directories that an archive may need without listing them."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_HOLE = 1 << 16
_ZEROS = bytes(1 << 18)

_TYPE = {
    header.CHAR: stat.S_IFCHR,
    header.BLOCK_DEVICE: stat.S_IFBLK,
    header.FIFO: stat.S_IFIFO,
}
_REFUSED = {  # what the kernel says about a name or an object that no file can have
    errno.ENAMETOOLONG: "name is too long",
    errno.ENOENT: "a parent is a symbolic link to nothing",
    errno.ELOOP: "too many symbolic links",
    errno.EINVAL: "the kernel refuses this name or device",
    errno.ENOTDIR: "a parent is not a directory",
    errno.EISDIR: "a directory is in the way",
    errno.EFBIG: "file is too large",
    errno.EMLINK: "too many links",
}


@dataclass(frozen=True, slots=True)
class Extracted:
    """How much was extracted: sizes of files and symbolic links, and number of entries."""

    size: int
    files: int


def clean(name: bytes, entry: bytes | None = None) -> list[bytes]:
    """The components of ``name`` relative to the root; InvalidParameter when ``..`` leaves it."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise bad(entry or name, "the path leads outside of the archive's root")
            parts.pop()
        elif part and part != b".":
            parts.append(part)
    return parts


class Extractor:
    """Puts entries into the directory behind descriptor ``root``.

    ``whiteouts``: turn ``.wh.`` entries into overlayfs whiteouts and opaque directories.
    ``record``: told of the contents written as (path, offset, length).
    ``aside``: called with (directory descriptor, name, path) before a regular file that the
    same archive wrote is replaced; it may move the file away.
    ``owner``: replaces every owner when given.
    ``keep_kind``: refuse to replace a directory by something else and the reverse.
    """

    def __init__(
        self,
        root: int,
        *,
        whiteouts: bool = False,
        record: Callable[[bytes, int, int], None] | None = None,
        aside: Callable[[int, bytes, bytes], None] | None = None,
        owner: tuple[int, int] | None = None,
        keep_kind: bool = False,
    ) -> None:
        self._root = root
        self._whiteouts = whiteouts
        self._record = record
        self._aside = aside
        self._owner = owner
        self._keep_kind = keep_kind
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._times: dict[bytes, int] = {}
        self._implied = 0

    def extract(self, reader: TarReader) -> Extracted:
        """Extract all entries of ``reader`` and read it to its end.

        Raises InvalidParameter for an entry that is refused and KernelError when the host fails
        (a full disk); what was extracted until then is the caller's to remove.
        """
        size = files = 0
        name = b""
        try:
            for entry in reader:
                name = entry.name
                size += self._put(entry, reader)
                files += 1
            self._finish()
        except (OSError, KernelError) as error:
            why = _REFUSED.get(error.errno or 0)
            if why:
                raise bad(name, why) from error
            raise KernelError("extract", os.fsdecode(name), error.errno or errno.EIO) from error
        finally:
            self._forget()
        reader.drain()
        return Extracted(size, files)

    # Directories -------------------------------------------------------------------------

    def _forget(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def _remember(self, key: bytes, descriptor: int) -> None:
        """Keep a directory open: what comes next is probably in it."""
        before = self._open.pop(key, -1)
        if before >= 0:
            os.close(before)
        self._open[key] = descriptor
        if len(self._open) > _OPEN_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])

    def _parent(self, parts: list[bytes]) -> int:
        """A descriptor of the directory that holds the entry ``parts``, made when missing."""
        if len(parts) == 1:
            return self._root
        key = b"/".join(parts[:-1])
        descriptor = self._open.get(key)
        if descriptor is not None:
            return descriptor
        try:
            descriptor = open_in_root(self._root, os.fsdecode(key), _DIRECTORY)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # the latter: a whiteout
                raise
            descriptor = self._make_parents(parts[:-1])
        self._remember(key, descriptor)
        return descriptor

    def _make_parents(self, parts: list[bytes]) -> int:
        """Make the directories that the archive did not list, root's and readable; the last one."""
        directory = os.dup(self._root)
        try:
            for depth, name in enumerate(parts, 1):
                inner = self._make_parent(directory, name)
                if inner < 0:  # a link, which leads somewhere inside the root
                    path = os.fsdecode(b"/".join(parts[:depth]))
                    inner = open_in_root(self._root, path, _DIRECTORY)
                os.close(directory)
                directory = inner
        except BaseException:
            os.close(directory)
            raise
        return directory

    def _make_parent(self, directory: int, name: bytes) -> int:
        """Open one directory on the way, made when missing; -1 when something else is there."""
        try:
            os.mkdir(name, _IMPLIED_MODE, dir_fd=directory)
        except FileExistsError:
            if not self._is_whiteout(directory, name):
                try:
                    return open_directory(name, directory)
                except NotADirectoryError:
                    return -1
            os.unlink(name, dir_fd=directory)
            os.mkdir(name, _IMPLIED_MODE, dir_fd=directory)
            _make_opaque(directory, name)
        self._implied += 1
        if self._implied > _IMPLIED:
            raise InvalidParameter(
                f"archive needs more than {_IMPLIED} directories it does not list"
            )
        inner = open_directory(name, directory)
        os.fchmod(inner, _IMPLIED_MODE)
        return inner

    # Entries -----------------------------------------------------------------------------

    def _put(self, entry: Entry, reader: TarReader) -> int:
        parts = clean(entry.name)
        if not parts:
            if entry.kind != header.DIRECTORY:
                raise bad(entry.name, "only a directory can be the root")
            self._metadata_of_root(entry)
            return 0
        if self._whiteouts and parts[-1].startswith(WHITEOUT):
            self._whiteout(parts, entry)
            return 0
        directory, name = self._parent(parts), parts[-1]
        if entry.kind == header.REGULAR:
            return self._regular(directory, name, parts, entry, reader)
        if entry.kind == header.DIRECTORY:
            self._directory(directory, name, parts, entry)
            return 0
        if entry.kind == header.HARD_LINK:
            self._hard_link(directory, name, parts, entry)
            return 0
        make = self._maker(entry, parts)
        try:
            make(directory, name)
        except FileExistsError:
            directory = self._replace(directory, name, parts, entry)
            make(directory, name)
        self._describe_name(directory, name, entry)
        return len(entry.link)

    def _regular(
        self, directory: int, name: bytes, parts: list[bytes], entry: Entry, reader: TarReader
    ) -> int:
        try:
            file = make_file(directory, name)
        except FileExistsError:
            file = make_file(self._replace(directory, name, parts, entry), name)
        try:
            size = entry.size if entry.sparse is None else entry.real_size
            if entry.size:
                _write_content(file, size, reader)
            elif size:
                os.truncate(file, size)
            if self._record and entry.size:
                path = b"/".join(parts)
                for offset, length in entry.sparse or ((0, entry.size),):
                    self._record(path, offset, length)
            self._describe(file, entry, entry.mtime)
        finally:
            os.close(file)
        return size

    def _directory(self, directory: int, name: bytes, parts: list[bytes], entry: Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                hides = self._is_whiteout(directory, name)
                directory = self._replace(directory, name, parts, entry)
                os.mkdir(name, 0o700, dir_fd=directory)
                if hides:
                    _make_opaque(directory, name)
        made = open_directory(name, directory)
        try:
            self._describe(made, entry, None)  # its time changes with each file made in it
        except BaseException:
            os.close(made)
            raise
        path = b"/".join(parts)
        self._times[path] = entry.mtime
        self._remember(path, made)

    def _hard_link(self, directory: int, name: bytes, parts: list[bytes], entry: Entry) -> None:
        target = clean(entry.link, entry.name)
        if target == parts:
            return
        where = entry.link.decode("utf-8", "backslashreplace")
        if not target:
            raise bad(entry.name, "hard link to a directory")
        try:
            # Not through the cache: replacing what is in the way forgets the cached directories.
            above = os.fsdecode(b"/".join(target[:-1])) or "."
            source = open_in_root(self._root, above, _DIRECTORY)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            raise bad(entry.name, f"hard link to {where!r}, which is not there") from None
        try:
            found = os.stat(target[-1], dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise bad(entry.name, "hard link to a directory")
            link = functools.partial(
                os.link, target[-1], name, src_dir_fd=source, follow_symlinks=False
            )
            try:
                link(dst_dir_fd=directory)
            except FileExistsError:
                link(dst_dir_fd=self._replace(directory, name, parts, entry))
        except FileNotFoundError:
            raise bad(entry.name, f"hard link to {where!r}, which is not there") from None
        finally:
            os.close(source)

    def _maker(self, entry: Entry, parts: list[bytes]) -> Callable[[int, bytes], None]:
        """The call that makes a symbolic link, device or FIFO."""
        if entry.kind == header.SYMLINK:
            if not entry.link:
                raise bad(entry.name, "symbolic link without a target")
            if not entry.link.startswith(b"/"):
                clean(b"/".join([*parts[:-1], entry.link]), entry.name)
            return lambda directory, name: os.symlink(entry.link, name, dir_fd=directory)
        kind = _TYPE.get(entry.kind)
        if kind is None:
            raise bad(entry.name, f"unknown entry type {entry.kind!r}")
        device = 0
        if entry.kind != header.FIFO:
            if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
                raise bad(entry.name, "device number is out of range")
            device = os.makedev(entry.major, entry.minor)
        return functools.partial(_make_node, entry, kind | entry.mode & 0o777, device)

    # What was there before ------------------------------------------------------------------

    def _replace(self, directory: int, name: bytes, parts: list[bytes], entry: Entry) -> int:
        """Remove what is at the entry's place; returns the parent's descriptor, opened anew."""
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if self._keep_kind and stat.S_ISDIR(found.st_mode) != (entry.kind == header.DIRECTORY):
            one, other = ("directory", "non-directory")
            if not stat.S_ISDIR(found.st_mode):
                one, other = other, one
            raise bad(entry.name, f"cannot overwrite {one} with {other}")
        self._remove(directory, name, b"/".join(parts))
        self._forget()
        return self._parent(parts)

    def _remove(self, directory: int, name: bytes, path: bytes) -> None:
        """Remove what an entry replaces; contents that this archive wrote go aside."""
        if self._aside or self._times:
            self._take_leave(directory, name, path)
        remove_tree(directory, name)

    def _take_leave(self, directory: int, name: bytes, path: bytes) -> None:
        """Before a removal: put contents aside, forget the times of directories."""
        pending = [[name]]
        names = [path.rpartition(b"/")[0]]
        with descending(directory) as descent:
            while pending:
                if not pending[-1]:
                    pending.pop()
                    names.pop()
                    if pending:
                        descent.leave()
                    continue
                one = pending[-1].pop()
                below = names[-1] + b"/" + one if names[-1] else one
                found = os.stat(one, dir_fd=descent.directory, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    self._times.pop(below, None)
                    descent.enter(one)
                    pending.append([os.fsencode(inner) for inner in os.listdir(descent.directory)])
                    names.append(below)
                elif self._aside and stat.S_ISREG(found.st_mode) and found.st_size:
                    self._aside(descent.directory, one, below)

    # Whiteouts (image-spec, layer.md "Whiteouts") ---------------------------------------------

    def _whiteout(self, parts: list[bytes], entry: Entry) -> None:
        name = parts[-1]
        if name == OPAQUE:
            directory = self._parent(parts)
            os.setxattr(directory, OPAQUE_XATTR, b"y")
            return
        hidden = name[len(WHITEOUT) :]
        if hidden.startswith(WHITEOUT):
            return  # AUFS's own bookkeeping (.wh..wh.plnk, .wh..wh.aufs)
        if hidden in (b"", b".", b".."):
            raise bad(entry.name, "whiteout of no file")
        directory = self._parent(parts)
        try:
            os.mknod(hidden, stat.S_IFCHR | 0o600, 0, dir_fd=directory)
        except FileExistsError:
            # A whiteout hides what lies below this layer, never the layer's own files.
            found = os.stat(hidden, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                _make_opaque(directory, hidden)

    def _is_whiteout(self, directory: int, name: bytes) -> bool:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return self._whiteouts and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0

    # Metadata --------------------------------------------------------------------------------

    def _describe(self, descriptor: int, entry: Entry, mtime: int | None) -> None:
        """Give an open file or directory what the entry says about it."""
        uid, gid = self._owner or (entry.uid, entry.gid)
        xattrs = _kept(entry.xattrs) if entry.xattrs else ()
        try:
            describe(descriptor, Metadata(entry.mode & 0o7777, uid, gid, mtime, xattrs))
        except OverflowError as error:
            raise bad(entry.name, f"owner or time is out of range: {error}") from error
        except ValueError as error:
            raise bad(entry.name, f"extended attributes: {error}") from error

    def _describe_name(self, directory: int, name: bytes, entry: Entry) -> None:
        """The same for what cannot be opened: links, devices and FIFOs."""
        uid, gid = self._owner or (entry.uid, entry.gid)
        mode = None if entry.kind == header.SYMLINK else entry.mode & 0o7777
        try:
            describe_name(directory, name, Metadata(mode, uid, gid, entry.mtime))
        except OverflowError as error:
            raise bad(entry.name, f"owner or time is out of range: {error}") from error

    def _metadata_of_root(self, entry: Entry) -> None:
        self._describe(self._root, entry, None)
        self._times[b""] = entry.mtime

    def _finish(self) -> None:
        """Set the directories' times, children first: making files in them had changed them."""
        for path in sorted(self._times, reverse=True):
            mtime = self._times[path]
            parts = path.split(b"/")
            directory, name = (self._parent(parts), parts[-1]) if path else (self._root, b".")
            try:
                os.utime(name, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)
            except OverflowError as error:
                raise bad(path, f"time is out of range: {error}") from error


def _write_content(file: int, size: int, reader: TarReader) -> None:
    """Write the entry's data; long runs of zeros become holes."""
    for offset, piece in reader.content():
        length = len(piece)
        if length >= _HOLE and piece[:8] == _ZEROS[:8] and piece == _ZEROS[:length]:
            continue
        written = 0
        while written < length:
            written += os.pwrite(file, piece[written:], offset + written)
    if os.fstat(file).st_size < size:
        os.truncate(file, size)


def _make_node(entry: Entry, mode: int, device: int, directory: int, name: bytes) -> None:
    try:
        os.mknod(name, mode, device, dir_fd=directory)
    except PermissionError as error:
        raise bad(entry.name, "devices cannot be made here") from error


def _make_opaque(directory: int, name: bytes) -> None:
    inner = open_directory(name, directory)
    try:
        os.setxattr(inner, OPAQUE_XATTR, b"y")
    finally:
        os.close(inner)


def _kept(xattrs: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, bytes], ...]:
    """The attributes that are taken from an archive.

    The overlay's own are not: they could redirect a directory to another one of the layers below.
    """
    return tuple(pair for pair in xattrs if not pair[0].startswith(_OVERLAY_XATTRS))
