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
from dataclasses import dataclass
from typing import Literal

from wherry.errors import Conflict, InvalidParameter, KernelError, NotFound
from wherry.fs.descent import descending
from wherry.fs.measuring import disk_usage_of
from wherry.fs.opening import DIRECTORY, open_path, within_reach
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
        root = os.open(self.root(container, layers).path, DIRECTORY)
        try:
            yield from _changes(root, self._stack(layers))
        finally:
            os.close(root)

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
    """Copy the merged tree of layer directories (top first) into the empty ``target``.

    Only the engine can write in any of them, so that paths do; they may be of any length.
    """
    links: dict[tuple[int, int], str] = {}
    directories = [(stack[0], target)] if stack else []
    for path, inner in merged.walk(stack):
        if _copy(inner[0], os.path.join(target, path), links):
            directories.append((inner[0], os.path.join(target, path)))
    for source, copy in reversed(directories):  # what was made in them has changed their times
        _copy_metadata(source, copy)


def apply_layer(layer: str, target: str) -> None:
    """Change the tree ``target``, which has what lies below, into what ``layer`` makes of it."""
    links: dict[tuple[int, int], str] = {}
    directories = []
    pending = [(layer, target)]
    while pending:
        source, copy = pending.pop()
        directories.append((source, copy))
        inner = [(f"{source}/{name}", f"{copy}/{name}") for name in _names(source)]
        pending += [pair for pair in inner if _apply(*pair, links)]
    for source, copy in reversed(directories):
        _copy_metadata(source, copy)


def _names(directory: str) -> list[str]:
    descriptor = open_path(directory, DIRECTORY)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def _apply(source: str, copy: str, links: dict[tuple[int, int], str]) -> bool:
    """Put one file of a layer in its place; whether it is a directory, still to be filled."""
    with within_reach(source) as near, within_reach(copy) as there:
        found = os.lstat(near)
        if stat.S_ISDIR(found.st_mode):
            if merged.is_opaque(near) or not _is_directory(there):
                _clear(there)
                os.mkdir(there)
            return True
        _clear(there)
    return not merged.is_whiteout(found) and _copy(source, copy, links)


def _copy(source: str, copy: str, links: dict[tuple[int, int], str]) -> bool:
    """Copy one file, or make an empty directory; whether it is one."""
    with within_reach(source) as near, within_reach(copy) as there:
        found = os.lstat(near)
        if stat.S_ISDIR(found.st_mode):
            os.mkdir(there)
            return True
        first = links.setdefault((found.st_dev, found.st_ino), copy)
        if first != copy:
            with within_reach(first) as made:
                os.link(made, there, follow_symlinks=False)
            return False
        _copy_file(near, there, found)
    _copy_metadata(source, copy)
    return False


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
    with within_reach(source) as near, within_reach(copy) as there:
        found = os.lstat(near)
        os.chown(there, found.st_uid, found.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            os.chmod(there, stat.S_IMODE(found.st_mode))
        for name in os.listxattr(near, follow_symlinks=False):
            if not name.startswith(("user.overlay.", "trusted.overlay.")):
                value = os.getxattr(near, name, follow_symlinks=False)
                with suppress(OSError):
                    os.setxattr(there, name, value, follow_symlinks=False)
        os.utime(there, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class _Step:
    """What became of one name; ``deeper`` lies below a directory that is to be compared."""

    name: str
    kind: Literal["A", "C", "D", ""]
    deeper: Sequence[str] | None = None


def _changes(root: int, stack: Sequence[str]) -> Iterator[Change]:
    """Compare an open directory with the merged directory that it was copied from.

    The container may run and change its directories meanwhile. A directory counts as changed
    when anything in it is; so it waits in ``unchanged`` until that is known.
    """
    with descending(root) as descent:
        pending = [iter(_compared(descent.directory, stack))]
        path: list[str] = [""]
        unchanged: list[int] = []
        """Lengths of the paths of directories that nothing was told of yet."""
        while pending:
            step = next(pending[-1], None)
            if step is None:
                pending.pop()
                if unchanged and unchanged[-1] == len(path):
                    unchanged.pop()
                path.pop()
                if pending:
                    descent.leave()
                continue
            if step.kind:
                yield from (Change("C", "/".join(path[:length])) for length in unchanged)
                unchanged.clear()
                yield Change(step.kind, "/".join((*path, step.name)))
            if step.deeper is not None:
                with suppress(FileNotFoundError, NotADirectoryError):
                    descent.enter(step.name)
                    pending.append(iter(_compared(descent.directory, step.deeper)))
                    path.append(step.name)
                    if not step.kind:
                        unchanged.append(len(path))


def _compared(directory: int, stack: Sequence[str]) -> list[_Step]:
    """Each name of a directory, or of what it was copied from, sorted."""
    below = merged.children(stack) if stack else {}
    here = set(os.listdir(directory))
    steps = []
    for name in sorted(here | below.keys()):
        inner = below.get(name)
        now = _status(directory, name) if name in here else None
        if now is None:
            if inner is not None:
                steps.append(_Step(name, "D"))
            continue
        is_directory = stat.S_ISDIR(now.st_mode)
        if inner is None:
            steps.append(_Step(name, "A", () if is_directory else None))
            continue
        with within_reach(inner[0]) as original:
            then = os.lstat(original)
            kind: Literal["C", ""] = "C" if _differs(now, then, directory, name, original) else ""
        deeper = inner if stat.S_ISDIR(then.st_mode) else ()
        steps.append(_Step(name, kind, deeper if is_directory else None))
    return steps


def _status(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _differs(
    now: os.stat_result, then: os.stat_result, directory: int, name: str, original: str
) -> bool:
    if (now.st_mode, now.st_uid, now.st_gid, now.st_rdev) != (
        then.st_mode, then.st_uid, then.st_gid, then.st_rdev,
    ):  # fmt: skip
        return True
    if stat.S_ISLNK(now.st_mode):
        return os.readlink(name, dir_fd=directory) != os.readlink(original)
    if not stat.S_ISREG(now.st_mode):
        return False
    return (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns)
