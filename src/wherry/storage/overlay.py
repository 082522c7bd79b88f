"""The overlay driver: layers below, an upper directory for each container, joined by overlayfs.

``<directory>/<container>/{upper,work,merged}``; see overlayfs.rst in the kernel's documentation.
"""

from __future__ import annotations

import os
import posixpath
import stat
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from wherry.errors import Conflict, InvalidParameter, KernelError, NotFound
from wherry.fs.descent import descending
from wherry.fs.measuring import disk_usage_of
from wherry.fs.opening import DIRECTORY
from wherry.fs.removing import remove_path
from wherry.linux import mountinfo, mounts, quota
from wherry.linux.root import OverlayRoot, Root
from wherry.storage import merged
from wherry.storage.archive.writer import tar_tree
from wherry.storage.driver import Change, StorageDriver
from wherry.storage.sizes import parse_size

_FIRST_PROJECT = 0x57000000
"""Projects from here on are taken for containers: far from those that people number by hand."""


class OverlayDriver(StorageDriver):
    """Roots by overlayfs of the kernel, with ``userxattr``."""

    name = "overlay"
    shown = "overlay2"
    marks: frozenset[str] = frozenset()
    """Names that the implementation puts into upper directories for itself."""
    options = frozenset({"overlay2.size", "overlay.size", "overlay2.override_kernel_check"})

    def __init__(
        self, directory: str, layer_path: Callable[[str], str], options: Mapping[str, str]
    ) -> None:
        super().__init__(directory, layer_path, options)
        text = options.get("overlay2.size") or options.get("overlay.size")
        self._size = parse_size(text) if text else None
        self._projects = threading.Lock()
        if self._size is not None:
            self._need_quotas()

    @classmethod
    def unusable(cls, directory: str) -> str:
        """Tries a mount: only the kernel knows whether this file system can carry an overlay."""
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=directory) as probe:
            paths = [os.path.join(probe, name) for name in ("lower", "upper", "work", "merged")]
            for path in paths:
                os.mkdir(path)
            try:
                _mount([paths[0]], paths[1], paths[2], paths[3])
            except KernelError as error:
                return str(error)
            mounts.unmount(paths[3], mounts.MNT_DETACH)
        return ""

    def status(self) -> list[tuple[str, str]]:
        """Docker's overlay2 shows the same pairs."""
        return [
            ("Backing Filesystem", _file_system(self._directory)),
            ("Supports d_type", "true"),
            ("Using metacopy", "false"),
            ("Native Overlay Diff", "true"),
            ("userxattr", "true"),
        ]

    def _path(self, container: str, name: str = "") -> str:
        return os.path.join(self._directory, container, name) if name else os.path.join(
            self._directory, container
        )  # fmt: skip

    def create(self, container: str, layers: Sequence[str], size: int | None = None) -> None:
        """See the base class."""
        size = size or self._size
        if size is not None:
            self._need_quotas()
        final, temporary = self._path(container), self._path("." + container)
        if os.path.exists(final):
            raise Conflict(f"container {container} already has a root file system")
        remove_path(temporary)
        upper = os.path.join(temporary, "upper")
        try:
            os.mkdir(temporary, 0o700)
            if size is not None:
                self._limit(temporary, size)
            os.mkdir(upper, 0o755)
            os.mkdir(os.path.join(temporary, "work"), 0o700)
            os.mkdir(os.path.join(temporary, "merged"), 0o700)
            if layers:  # the mount shows the upper directory's owner and mode as the root's
                found = os.stat(self._layer_path(layers[-1]))
                os.chown(upper, found.st_uid, found.st_gid)
                os.chmod(upper, stat.S_IMODE(found.st_mode))
            os.rename(temporary, final)
        except OSError as error:
            remove_path(temporary)
            raise KernelError("create root of container", final, error.errno or 5) from error

    def _need_quotas(self) -> None:
        if not quota.enforced(self._directory):
            raise InvalidParameter(
                "--storage-opt is supported only for overlay over xfs or ext4 with the 'prjquota'"
                f" mount option; {self._directory} lies on {_file_system(self._directory)} without"
            )

    def _limit(self, home: str, size: int) -> None:
        """Give the empty directory ``home`` a project of its own with a limit.

        Work and upper directory share it: files cannot be renamed between projects.
        """
        with self._projects:
            project = _FIRST_PROJECT
            taken = {quota.project_of(self._path(name)) for name in os.listdir(self._directory)}
            while project in taken or quota.usage(home, project) != (0, 0):
                project += 1
            quota.assign(home, project)
            quota.limit(home, project, size)

    def root(self, container: str, layers: Sequence[str]) -> Root:
        """See the base class."""
        return self.parts(container, layers)

    def parts(self, container: str, layers: Sequence[str]) -> OverlayRoot:
        """The directories that make the root; NotFound when the container has none."""
        upper = self._path(container, "upper")
        if not os.path.isdir(upper):
            raise NotFound(f"container {container} has no root file system")
        return OverlayRoot(self._lowers(layers), upper, self._path(container, "work"))

    def _lowers(self, layers: Sequence[str]) -> tuple[str, ...]:
        # A layer may occur twice (two steps that made the same files); overlayfs refuses that, and
        # the upper occurrence hides all of the lower one.
        return tuple(dict.fromkeys(self._layer_path(layer) for layer in reversed(layers)))

    @contextmanager
    def mounted(self, container: str, layers: Sequence[str]) -> Iterator[str]:
        """See the base class."""
        root = self.parts(container, layers)
        target = tempfile.mkdtemp(prefix="merged-", dir=self._path(container))
        lowers = list(root.lowers) or [self._path(container, "merged")]
        try:
            _mount(lowers, root.upper, root.work, target)
            try:
                yield target
            finally:
                mounts.unmount(target, mounts.MNT_DETACH)
        finally:
            os.rmdir(target)

    def changes(self, container: str, layers: Sequence[str]) -> Iterator[Change]:
        """See the base class."""
        root = self.parts(container, layers)
        upper = os.open(root.upper, DIRECTORY)
        try:
            yield from _changes(upper, root.lowers, self.marks)
        finally:
            os.close(upper)

    def diff(
        self, container: str, layers: Sequence[str], without: Collection[str] = ()
    ) -> Iterator[bytes]:
        """See the base class."""
        barred = {os.fsencode(path[1:]) for path in without}
        upper = self.parts(container, layers).upper
        return tar_tree(upper, whiteouts=True, chosen=lambda path: path not in barred)

    def usage(self, container: str) -> int:
        """See the base class."""
        return disk_usage_of(self._path(container, "upper"))

    def remove(self, container: str) -> None:
        """See the base class."""
        final, temporary = self._path(container), self._path("." + container)
        if os.path.isdir(final):
            for name in os.listdir(final):
                if name.startswith("merged-"):  # left by a crash
                    with suppress(KernelError):
                        mounts.unmount(os.path.join(final, name), mounts.MNT_DETACH)
            remove_path(temporary)
            os.rename(final, temporary)
        if os.path.isdir(temporary):
            project = quota.project_of(temporary)
            remove_path(temporary)
            if project >= _FIRST_PROJECT:
                quota.limit(self._directory, project, 0)

    def take_upper(self, container: str) -> str | None:
        """See the base class. None for a limited one: its files would stay in the project."""
        upper = self._path(container, "upper")
        return None if quota.project_of(upper) >= _FIRST_PROJECT else upper

    def graph_data(self, container: str, layers: Sequence[str]) -> dict[str, str]:
        """The pairs of Docker's overlay2."""
        return {
            "LowerDir": ":".join(self._lowers(layers)),
            "MergedDir": self._path(container, "merged"),
            "UpperDir": self._path(container, "upper"),
            "WorkDir": self._path(container, "work"),
        }


def _mount(lowers: Sequence[str], upper: str, work: str, target: str) -> None:
    """Mount by descriptors: the options of mount(2) must fit into one page."""
    with ExitStack() as stack:

        def short(path: str) -> str:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            return f"/proc/self/fd/{descriptor}"

        lower = ":".join(short(path) for path in lowers)
        options = f"lowerdir={lower},upperdir={short(upper)},workdir={short(work)},userxattr"
        mounts.mount("overlay", target, "overlay", 0, options)


_Step = tuple[Change, tuple[str, ...] | None]
"""A change of a name in a directory; for a directory to go into, what lies below it."""


def _changes(
    upper: int, lowers: tuple[str, ...], marks: frozenset[str], path: str = "/"
) -> Iterator[Change]:
    """Compare an open directory of the upper tree with the merged directory below it.

    The container may run and change its directories meanwhile.
    """
    with descending(upper) as descent:
        pending = [iter(_compared(descent.directory, lowers, marks, path))]
        while pending:
            step = next(pending[-1], None)
            if step is None:
                pending.pop()
                if pending:
                    descent.leave()
                continue
            change, deeper = step
            yield change
            if deeper is not None:
                with suppress(FileNotFoundError, NotADirectoryError):
                    descent.enter(posixpath.basename(change.path))
                    inner = _compared(descent.directory, deeper, marks, change.path + "/")
                    pending.append(iter(inner))


def _compared(upper: int, lowers: tuple[str, ...], marks: frozenset[str], path: str) -> list[_Step]:
    """The changes of one directory's names, sorted."""
    below = merged.children(lowers) if lowers else {}
    with os.scandir(upper) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    kept = {entry.name for entry in entries} - marks
    steps: list[_Step] = []
    if merged.is_opaque(upper) or len(kept) < len(entries):
        steps += [(Change("D", path + name), None) for name in sorted(below.keys() - kept)]
    for entry in entries:
        if entry.name not in marks:
            with suppress(FileNotFoundError):
                steps += _change(entry, below.get(entry.name), path + entry.name)
    return steps


def _change(entry: os.DirEntry[str], inner: merged.Stack | None, path: str) -> list[_Step]:
    """What one name of the upper directory says about the ``inner`` that lies below it."""
    if merged.is_whiteout(entry.stat(follow_symlinks=False)):
        return [(Change("D", path), None)] if inner else []
    deeper = None
    if entry.is_dir(follow_symlinks=False):
        deeper = inner if inner and stat.S_ISDIR(merged.status(inner[0]).st_mode) else ()
    return [(Change("C" if inner else "A", path), deeper)]


def _file_system(path: str) -> str:
    """The file system that holds ``path``, named as Docker names it."""
    kind = mountinfo.of_path(path).kind
    return "extfs" if kind in ("ext2", "ext3", "ext4") else kind
