"""Extraction of a tar stream into a directory, which it cannot leave.

Every parent directory is opened by the kernel with the target as its root (``open_in_root``), and
every entry is then made by its last name below that descriptor, never following a link there.
The target must not be writable by anybody else meanwhile.
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
from wherry.fs.opening import open_in_root
from wherry.storage.archive import header
from wherry.storage.archive.header import Entry, bad
from wherry.storage.archive.reader import TarReader

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
OPAQUE_XATTR = "user.overlay.opaque"
_OVERLAY_XATTRS = ("user.overlay.", "trusted.overlay.")
_IMPLIED_MODE = 0o755
_OPEN_DIRECTORIES = 64
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

    def _parent(self, parts: list[bytes]) -> int:
        """A descriptor of the directory that holds the entry ``parts``, made when missing."""
        if len(parts) == 1:
            return self._root
        key = b"/".join(parts[:-1])
        descriptor = self._open.get(key)
        if descriptor is not None:
            return descriptor
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            descriptor = open_in_root(self._root, os.fsdecode(key), flags)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # the latter: a whiteout
                raise
            self._make_parents(parts[:-1])
            descriptor = open_in_root(self._root, os.fsdecode(key), flags)
        self._open[key] = descriptor
        if len(self._open) > _OPEN_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def _make_parents(self, parts: list[bytes]) -> None:
        """Make the directories that the archive did not list, root's and readable."""
        for depth in range(1, len(parts) + 1):
            directory = self._parent(parts[:depth])
            name = parts[depth - 1]
            try:
                os.mkdir(name, _IMPLIED_MODE, dir_fd=directory)
            except FileExistsError:
                if not self._is_whiteout(directory, name):
                    continue
                os.unlink(name, dir_fd=directory)
                os.mkdir(name, _IMPLIED_MODE, dir_fd=directory)
                _make_opaque(directory, name)
            os.chmod(name, _IMPLIED_MODE, dir_fd=directory)

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
        self._metadata_of_name(directory, name, entry)
        return len(entry.link)

    def _regular(
        self, directory: int, name: bytes, parts: list[bytes], entry: Entry, reader: TarReader
    ) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.open(name, flags, 0o600, dir_fd=directory)
        except FileExistsError:
            directory = self._replace(directory, name, parts, entry)
            file = os.open(name, flags, 0o600, dir_fd=directory)
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
            uid, gid = self._owner or (entry.uid, entry.gid)
            os.fchown(file, uid, gid)
            os.fchmod(file, entry.mode & 0o7777)
            for key, value in entry.xattrs:
                _set_xattr(file, key, value)
            os.utime(file, ns=(entry.mtime, entry.mtime))
        except OverflowError as error:
            raise bad(entry.name, f"owner or time is out of range: {error}") from error
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
        self._metadata_of_name(directory, name, entry)
        self._times[b"/".join(parts)] = entry.mtime

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
            source = open_in_root(self._root, above, os.O_RDONLY | os.O_DIRECTORY)
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
        return lambda directory, name: os.mknod(name, kind | 0o600, device, dir_fd=directory)

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
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            try:
                for child in os.listdir(inner):
                    child_name = os.fsencode(child)
                    self._remove(inner, child_name, path + b"/" + child_name)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=directory)
            self._times.pop(path, None)
            return
        if self._aside and stat.S_ISREG(found.st_mode) and found.st_size:
            self._aside(directory, name, path)
            return
        os.unlink(name, dir_fd=directory)

    # Whiteouts (image-spec, layer.md "Whiteouts") ---------------------------------------------

    def _whiteout(self, parts: list[bytes], entry: Entry) -> None:
        name = parts[-1]
        if name == OPAQUE:
            if len(parts) == 1:
                os.setxattr(self._root, OPAQUE_XATTR, b"y")
            else:
                _set_xattr(self._parent(parts), OPAQUE_XATTR, b"y", own=True)
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

    def _metadata_of_name(self, directory: int, name: bytes, entry: Entry) -> None:
        try:
            uid, gid = self._owner or (entry.uid, entry.gid)
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
            if entry.kind != header.SYMLINK:
                os.chmod(name, entry.mode & 0o7777, dir_fd=directory)
            for key, value in entry.xattrs:
                _set_xattr(_by_descriptor(directory, name), key, value)
            if entry.kind != header.DIRECTORY:
                times = (entry.mtime, entry.mtime)
                os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
        except OverflowError as error:
            raise bad(entry.name, f"owner or time is out of range: {error}") from error

    def _metadata_of_root(self, entry: Entry) -> None:
        uid, gid = self._owner or (entry.uid, entry.gid)
        try:
            os.fchown(self._root, uid, gid)
        except OverflowError as error:
            raise bad(entry.name, f"owner is out of range: {error}") from error
        os.fchmod(self._root, entry.mode & 0o7777)
        for key, value in entry.xattrs:
            _set_xattr(self._root, key, value)
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


def _make_opaque(directory: int, name: bytes) -> None:
    _set_xattr(_by_descriptor(directory, name), OPAQUE_XATTR, b"y", own=True)


def _by_descriptor(directory: int, name: bytes) -> bytes:
    """A path of ``name`` below an open directory for calls that take no descriptor."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def _set_xattr(file: int | bytes, key: str, value: bytes, own: bool = False) -> None:
    """Set one attribute; what the file system has no room or no kind for is left out.

    The overlay's own attributes are never taken from an archive: they could redirect a
    directory to another one of the layers below.
    """
    if not own and key.startswith(_OVERLAY_XATTRS):
        return
    try:
        if isinstance(file, int):
            os.setxattr(file, key, value)
        else:
            os.setxattr(file, key, value, follow_symlinks=False)
    except ValueError as error:
        raise InvalidParameter(f"extended attribute {key!r}: {error}") from error
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM) or own:
            raise
