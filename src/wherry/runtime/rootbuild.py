"""Carrying out a root plan, inside the container's new mount namespace.

Every target is looked up with openat2 inside the new root and every mount is attached by
descriptor, so nothing that an image or another container does to a path leads outside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import posixpath
import stat
import struct
import termios

from wherry.errors import KernelError
from wherry.fs.copying import copy_tree
from wherry.fs.opening import open_in_root
from wherry.linux import mounts
from wherry.runtime import rootplan
from wherry.runtime.bundle import StartFailed
from wherry.runtime.rootplan import OVER_PROC, Building, RootPlan, Sealing

_STAGE = "/dev"
"""Any directory that is always there: a private tmpfs covers it while the root is built."""

_FIXED_PLACES = ("/proc", "/sys", "/dev")
"""Targets that must not be symbolic links: what lies there is trusted later."""

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_TIOCGPTN = 0x80045430
_O_PTY = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


class Root:
    """The root being built. ``terminal`` is (master, slave) once a console was made.

    ``devpts`` is the container's own instance, from which exec makes further terminals.
    """

    def __init__(self, plan: RootPlan, sources: list[int]) -> None:
        self._plan = plan
        self._sources = sources
        self._root = -1
        self._stage = -1
        self.devpts = -1
        self.terminal: tuple[int, int] | None = None

    def build(self) -> None:
        """Mount everything but the seals."""
        mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.mount("tmpfs", _STAGE, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=700")
        self._stage = os.open(_STAGE, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(self._stage)
        os.mkdir("root", 0o755)
        os.close(os.open("null", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        self._attach(self._sources[self._plan.null], "null")
        for operation in self._plan.building:
            self._build(operation)

    def seal(self) -> None:
        """Hide and protect what must not be seen or written, then enter the root for good."""
        for operation in self._plan.sealing:
            self._protect(operation)
        os.fchdir(self._root)
        mounts.pivot_root(".", ".")
        mounts.unmount(".", mounts.MNT_DETACH)
        os.chdir("/")
        if self._plan.propagation:
            mounts.set_attributes(
                self._root,
                "/",
                propagation=self._plan.propagation & ~mounts.MS_REC,
                recursive=bool(self._plan.propagation & mounts.MS_REC),
            )

    def _build(self, operation: Building) -> None:
        match operation:
            case rootplan.Overlay():
                self._overlay(operation)
            case rootplan.Directory(source):
                self._attach(self._sources[source], "root")
                self._root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            case rootplan.Layers():
                self._layers(operation)
            case rootplan.Bind(source, target):
                self._bind(self._sources[source], target)
            case rootplan.Filesystem():
                self._filesystem(operation)
            case rootplan.DeviceFile(source, name, target):
                self._device_file(self._sources[source], name, target)
            case rootplan.Console(rows, columns):
                self._console(rows, columns)
            case rootplan.Link(path, to):
                self._link(path, to)
            case rootplan.Remount(path, attributes):
                self._remount(path, attributes)

    def _protect(self, operation: Sealing) -> None:
        match operation:
            case rootplan.Mask(path):
                self._mask(path)
            case rootplan.ReadOnly(path):
                self._read_only(path)
            case rootplan.ReadOnlyRoot():
                mounts.set_attributes(self._root, "/", add=mounts.ATTR_RDONLY)

    def _attach(self, tree: int, name: str) -> None:
        """Attach a tree on the stage."""
        target = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self._stage)
        mounts.move_mount(tree, target, name)
        os.close(target)

    def _overlay(self, operation: rootplan.Overlay) -> None:
        for number, source in enumerate(operation.lowers):
            os.mkdir(f"{number}")
            self._attach(self._sources[source], f"{number}")
        os.mkdir("w")
        self._attach(self._sources[operation.writable], "w")
        lowers = ":".join(str(number) for number in range(len(operation.lowers)))
        if not lowers:
            os.mkdir("empty", 0o755)
            lowers = "empty"
        options = f"lowerdir={lowers},upperdir=w/{operation.upper},workdir=w/{operation.work}"
        mounts.mount("overlay", "root", "overlay", 0, f"{options},userxattr")
        self._root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.fstatvfs(self._root).f_flag & os.ST_RDONLY:
            # Where the work directory cannot be made, overlayfs mounts read-only and says nothing.
            refused = os.statvfs("w").f_flag & os.ST_RDONLY
            raise KernelError("mount", "overlay", errno.EROFS if refused else errno.ENOSPC)

    def _layers(self, operation: rootplan.Layers) -> None:
        place = f"layers{operation.lowers[0]}"
        os.mkdir(place)
        if len(operation.lowers) == 1:
            self._attach(self._sources[operation.lowers[0]], place)
        else:
            names = [f"layer{source}" for source in operation.lowers]
            for name, source in zip(names, operation.lowers, strict=True):
                os.mkdir(name)
                self._attach(self._sources[source], name)
            options = f"lowerdir={':'.join(names)},userxattr"
            mounts.mount("overlay", place, "overlay", mounts.MS_RDONLY, options)
        whole = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        tree = part_of(whole, operation.part)
        os.close(whole)
        self._bind(tree, operation.target)
        os.close(tree)

    def _bind(self, tree: int, target: str) -> None:
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        self._move(tree, target, is_directory)

    def _move(self, tree: int, target: str, is_directory: bool) -> None:
        if target == "/":
            raise KernelError("mount", "/", errno.EINVAL)
        place = open_target(self._root, target, is_directory)
        try:
            self._check_place(tree, place, target)
            if stat.S_ISDIR(os.fstat(place).st_mode) != is_directory:
                raise KernelError("mount", target, errno.ENOTDIR)
            mounts.move_mount(tree, place, target)
        finally:
            os.close(place)

    def _check_place(self, tree: int, place: int, target: str) -> None:
        """`rootplan.check_target`, now that links of the image have led to ``place``."""
        proc = self._existing("/proc", follow=False)
        if proc is None:
            return
        try:
            here, there = os.fstat(place), os.fstat(proc)
            if os.path.samestat(here, there) and not mounts.is_procfs_root(tree):
                raise _refused(target, "it is not of type proc")
            if here.st_dev != there.st_dev or not mounts.is_procfs(proc) or target in OVER_PROC:
                return
            if not os.path.samestat(here, there):
                raise _refused(target, "it is inside /proc")
        finally:
            os.close(proc)

    def _filesystem(self, operation: rootplan.Filesystem) -> None:
        tree = mounts.new_filesystem(
            operation.kind, operation.options, operation.attributes, operation.source
        )
        if operation.copy_up and (origin := self._existing(operation.target)) is not None:
            chosen = any(option.startswith("mode=") for option in operation.options)
            copy_tree(origin, tree, keep_mode=chosen)
            os.close(origin)
        self._move(tree, operation.target, True)
        if operation.kind == "devpts":
            self.devpts = tree
        else:
            os.close(tree)

    def _device_file(self, tree: int, name: str, target: str) -> None:
        node = mounts.open_tree(name, recursive=False, at=self._staged(tree))
        self._move(node, target, False)
        os.close(node)

    def _staged(self, tree: int) -> int:
        """A tree can be copied from only where it is attached."""
        name = f"tree{tree}"
        try:
            os.mkdir(name, dir_fd=self._stage)
            self._attach(tree, name)
        except FileExistsError:
            pass
        return tree

    def _console(self, rows: int, columns: int) -> None:
        if self.devpts == -1:
            raise KernelError("make console: no devpts is mounted", "/dev/pts", errno.ENOENT)
        master, slave, number = open_terminal(self.devpts)
        if rows and columns:
            set_size(master, rows, columns)
        self.terminal = (master, slave)
        tree = mounts.open_tree(str(number), recursive=False, at=self.devpts)
        place = open_target(self._root, "/dev/console", False, follow=False)
        mounts.move_mount(tree, place, "/dev/console")
        os.close(place)
        os.close(tree)

    def _link(self, path: str, to: str) -> None:
        parent = open_in_root(self._root, posixpath.dirname(path), os.O_PATH)
        try:
            os.symlink(to, posixpath.basename(path), dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)

    def _remount(self, path: str, attributes: int) -> None:
        place = open_in_root(self._root, path, os.O_PATH)
        mounts.set_attributes(place, path, add=attributes)
        os.close(place)

    def _existing(self, path: str, *, follow: bool = True) -> int | None:
        try:
            return open_in_root(self._root, path, os.O_PATH, follow=follow)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR) or not follow:
                return None
            raise

    def _mask(self, path: str) -> None:
        place = self._existing(path)
        if place is None:
            return
        if stat.S_ISDIR(os.fstat(place).st_mode):
            cover = mounts.new_filesystem(
                "tmpfs", ("nr_blocks=1", "nr_inodes=1", "mode=755"), mounts.ATTR_RDONLY, "tmpfs"
            )
        else:
            cover = mounts.open_tree("null", recursive=False, at=self._stage)
        mounts.move_mount(cover, place, path)
        os.close(cover)
        os.close(place)

    def _read_only(self, path: str) -> None:
        place = self._existing(path)
        if place is None:
            return
        tree = mounts.open_tree("", recursive=True, at=place)
        mounts.set_attributes(tree, path, add=mounts.ATTR_RDONLY)
        mounts.move_mount(tree, place, path)
        os.close(tree)
        os.close(place)


def _refused(target: str, why: str) -> StartFailed:
    message = f'error mounting to rootfs at "{target}": it cannot be mounted because {why}'
    return StartFailed(message, "mount", target, errno.EPERM)


def part_of(tree: int, part: str) -> int:
    """A read-only detached mount of the path ``part`` ("" for all) below an attached mount."""
    found = open_in_root(tree, part or "/", os.O_PATH)
    try:
        clone = mounts.open_tree("", recursive=False, at=found)
    finally:
        os.close(found)
    mounts.set_attributes(clone, part, add=mounts.ATTR_RDONLY)
    return clone


def open_target(root: int, path: str, is_directory: bool, *, follow: bool = True) -> int:
    """The mount point ``path`` inside ``root``, made with its parents where it is missing."""
    follow = follow and path not in _FIXED_PLACES
    for _ in range(40):
        try:
            return open_in_root(root, path, os.O_PATH, follow=follow)
        except KernelError as error:
            if error.errno == errno.ELOOP and not follow:
                message = "refuse to mount on a symbolic link"
                raise KernelError(message, path, error.errno) from None
            if error.errno != errno.ENOENT:
                raise
        path = _make_next(root, path, is_directory)
    raise KernelError("make mount point", path, errno.ELOOP)


def _make_next(root: int, path: str, is_directory: bool) -> str:
    """Make the first missing part of ``path``; the result is the path to go on with.

    A part that exists and yet leads nowhere is a dangling link: then the result is the path
    with the link's content in place of its name.
    """
    parts = path.strip("/").split("/")
    parent, place = os.dup(root), "/"
    try:
        for depth, name in enumerate(parts):
            here = posixpath.join(place, name)
            try:
                child = open_in_root(root, here, os.O_PATH)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
                rest = parts[depth + 1 :]
                return _make_one(parent, place, name, rest, is_directory or bool(rest))
            os.close(parent)
            parent, place = child, here
    finally:
        os.close(parent)
    return path


def _make_one(parent: int, place: str, name: str, rest: list[str], is_directory: bool) -> str:
    here = posixpath.join(place, name)
    try:
        if is_directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o755, dir_fd=parent))
    except FileExistsError:
        try:
            content = os.readlink(name, dir_fd=parent)
        except OSError:
            content = name  # somebody made it a moment ago
        here = posixpath.join(place, content)
    except OSError as error:
        raise KernelError("make mount point", here, error.errno or 0) from error
    return posixpath.join(here, *rest)


def open_terminal(devpts: int) -> tuple[int, int, int]:
    """A new terminal of a devpts instance: master, slave and the slave's number."""
    try:
        master = os.open("ptmx", _O_PTY, dir_fd=devpts)
    except OSError as error:
        raise KernelError("open terminal", "/dev/pts/ptmx", error.errno or 0) from error
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, b"\0\0\0\0"))[0]
    slave = fcntl.ioctl(master, _TIOCGPTPEER, _O_PTY)
    return master, slave, number


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Set a terminal's window size; its foreground group gets SIGWINCH."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
