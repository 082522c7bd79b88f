"""The vfs driver: each container's root is a full copy. It works on every file system.

``<directory>/<container>/root``. Contents are shared with the layers where the file system can
(``FICLONE``), so on XFS and btrfs a root costs little.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from wherry.errors import Conflict, InvalidParameter, KernelError, NotFound
from wherry.fs.measuring import disk_usage_of
from wherry.fs.removing import remove_path
from wherry.linux.root import DirectoryRoot
from wherry.storage import merged
from wherry.storage.archive.writer import tar_tree
from wherry.storage.driver import Change, StorageDriver

_FICLONE = 0x40049409


class VfsDriver(StorageDriver):
    """Roots as plain directories."""

    name = "vfs"

    @classmethod
    def unusable(cls, directory: str) -> str:
        """A directory that can be written is all it needs."""
        return "" if os.access(directory, os.W_OK) else "the directory cannot be written"

    def status(self) -> list[tuple[str, str]]:
        """Nothing to tell."""
        return []

    def _path(self, container: str) -> str:
        return os.path.join(self._directory, container, "root")

    def _stack(self, layers: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._layer_path(layer) for layer in reversed(layers))

    def create(self, container: str, layers: Sequence[str], size: int | None = None) -> None:
        """See the base class."""
        if size is not None:
            raise InvalidParameter("storage option size: the vfs driver cannot limit sizes")
        final = os.path.join(self._directory, container)
        if os.path.exists(final):
            raise Conflict(f"container {container} already has a root file system")
        temporary = os.path.join(self._directory, "." + container)
        remove_path(temporary)
        try:
            os.mkdir(temporary, 0o700)
            root = os.path.join(temporary, "root")
            self._make_root(root)
            copy_tree(self._stack(layers), root)
            os.rename(temporary, final)
        except OSError as error:
            remove_path(temporary)
            raise KernelError("create root of container", final, error.errno or 5) from error

    def _make_root(self, path: str) -> None:
        os.mkdir(path, 0o755)

    def root(self, container: str, layers: Sequence[str]) -> DirectoryRoot:
        """See the base class."""
        path = self._path(container)
        if not os.path.isdir(path):
            raise NotFound(f"container {container} has no root file system")
        return DirectoryRoot(path)

    @contextmanager
    def mounted(self, container: str, layers: Sequence[str]) -> Iterator[str]:
        """See the base class."""
        yield self.root(container, layers).path

    def changes(self, container: str, layers: Sequence[str]) -> Iterator[Change]:
        """See the base class."""
        yield from _changes(self.root(container, layers).path, self._stack(layers), "/")

    def diff(
        self, container: str, layers: Sequence[str], without: Collection[str] = ()
    ) -> Iterator[bytes]:
        """See the base class."""
        root = self.root(container, layers).path
        chosen: set[bytes] = set()
        removed: dict[bytes, set[bytes]] = {}
        for change in self.changes(container, layers):
            if change.path in without:
                continue
            path = os.fsencode(change.path[1:])
            if change.kind == "D":
                parent, name = os.path.split(path)
                removed.setdefault(parent, set()).add(name)
                path = parent
            while path and path not in chosen:  # parents tell mode and owner
                chosen.add(path)
                path = os.path.dirname(path)
        yield from tar_tree(root, chosen=chosen.__contains__, removed=removed)

    def usage(self, container: str) -> int:
        """See the base class."""
        return disk_usage_of(self._path(container))

    def remove(self, container: str) -> None:
        """See the base class."""
        final = os.path.join(self._directory, container)
        temporary = os.path.join(self._directory, "." + container)
        if os.path.isdir(final):
            remove_path(temporary)
            os.rename(final, temporary)
        remove_path(temporary)


def copy_tree(stack: Sequence[str], target: str) -> None:
    """Copy the merged tree of layer directories (top first) into the empty ``target``."""
    links: dict[tuple[int, int], str] = {}
    if stack:
        _copy_metadata(stack[0], target)
    directories = []
    for path, inner in merged.walk(stack):
        source, copy = inner[0], os.path.join(target, path)
        found = os.lstat(source)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(copy)
            directories.append((source, copy))
        elif found.st_nlink > 1 and (found.st_dev, found.st_ino) in links:
            os.link(links[found.st_dev, found.st_ino], copy, follow_symlinks=False)
            continue
        else:
            links[found.st_dev, found.st_ino] = copy
            _copy_file(source, copy, found)
        _copy_metadata(source, copy)
    for source, copy in reversed(directories):
        found = os.lstat(source)
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))


def apply_layer(layer: str, target: str) -> None:
    """Change the tree ``target``, which has what lies below, into what ``layer`` makes of it."""
    _apply(layer, target, {})


def _apply(layer: str, target: str, links: dict[tuple[int, int], str]) -> None:
    with os.scandir(layer) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            copy = os.path.join(target, entry.name)
            key = (found.st_dev, found.st_ino)
            if stat.S_ISDIR(found.st_mode):
                if merged.is_opaque(entry.path) or not _is_directory(copy):
                    _clear(copy)
                    os.mkdir(copy)
                _apply(entry.path, copy, links)
                continue
            _clear(copy)
            if merged.is_whiteout(found):
                continue
            if found.st_nlink > 1 and key in links:
                os.link(links[key], copy, follow_symlinks=False)
                continue
            links[key] = copy
            _copy_file(entry.path, copy, found)
            _copy_metadata(entry.path, copy)
    _copy_metadata(layer, target)


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _clear(path: str) -> None:
    if _is_directory(path):
        remove_path(path)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _copy_file(source: str, copy: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), copy)
    elif not stat.S_ISREG(found.st_mode):
        os.mknod(copy, found.st_mode, found.st_rdev)
    else:
        with open(source, "rb") as reader, open(copy, "xb") as writer:
            try:
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EINVAL):
                    raise
                shutil.copyfileobj(reader, writer, 1 << 20)


def _copy_metadata(source: str, copy: str) -> None:
    found = os.lstat(source)
    os.chown(copy, found.st_uid, found.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(copy, stat.S_IMODE(found.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(("user.overlay.", "trusted.overlay.")):
            value = os.getxattr(source, name, follow_symlinks=False)
            with suppress(OSError):
                os.setxattr(copy, name, value, follow_symlinks=False)
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def _changes(directory: str, stack: Sequence[str], path: str) -> Iterator[Change]:
    """Compare a directory with the merged directory that it was copied from."""
    below = merged.children(stack) if stack else {}
    with os.scandir(directory) as entries:
        here = {entry.name: entry.path for entry in entries}
    for name in sorted(here.keys() | below.keys()):
        full = path + name
        if name not in here:
            yield Change("D", full)
            continue
        now = os.lstat(here[name])
        inner = below.get(name)
        if inner is None:
            yield Change("A", full)
            deeper: Sequence[str] = ()
        else:
            then = os.lstat(inner[0])
            deeper = inner if stat.S_ISDIR(then.st_mode) else ()
            inside = []
            if stat.S_ISDIR(now.st_mode):
                inside = list(_changes(here[name], deeper, full + "/"))
            if inside or _differs(now, then, here[name], inner[0]):
                yield Change("C", full)
            yield from inside
            continue
        if stat.S_ISDIR(now.st_mode):
            yield from _changes(here[name], deeper, full + "/")


def _differs(now: os.stat_result, then: os.stat_result, path: str, original: str) -> bool:
    if (now.st_mode, now.st_uid, now.st_gid, now.st_rdev) != (
        then.st_mode, then.st_uid, then.st_gid, then.st_rdev,
    ):  # fmt: skip
        return True
    if stat.S_ISLNK(now.st_mode):
        return os.readlink(path) != os.readlink(original)
    if not stat.S_ISREG(now.st_mode):
        return False
    return (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns)
