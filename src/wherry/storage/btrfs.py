"""The btrfs driver: roots are snapshots.

For each stack of layers that is used a subvolume is made once, from reflinks of the layers' files
(no data is copied); a container's root is a snapshot of it. ``<directory>/.bases/<name>`` and
``<directory>/<container>/root``; ioctl_btrfs in the kernel's include/uapi/linux/btrfs.h.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from wherry.errors import Conflict, KernelError
from wherry.fs.removing import remove_path
from wherry.linux import mountinfo
from wherry.storage.sizes import parse_size
from wherry.storage.vfs import VfsDriver, copy_tree

_SNAPSHOT_CREATE = 0x50009401
_SUBVOLUME_CREATE = 0x5000940E
_SNAPSHOT_DESTROY = 0x5000940F
_QUOTA_CONTROL = 0xC0109428
_GROUP_LIMIT = 0x8030942B
_ENABLE = 1
_EXCLUSIVE = 2
_ARGUMENTS = struct.Struct("q4088s")


class BtrfsDriver(VfsDriver):
    """Roots as subvolumes of btrfs."""

    name = "btrfs"
    options = frozenset({"btrfs.size"})

    def __init__(
        self, directory: str, layer_path: Callable[[str], str], options: Mapping[str, str]
    ) -> None:
        super().__init__(directory, layer_path, options)
        text = options.get("btrfs.size")
        self._size = parse_size(text) if text else None

    @classmethod
    def unusable(cls, directory: str) -> str:
        """Needs btrfs below the data root."""
        kind = mountinfo.of_path(directory).kind
        return "" if kind == "btrfs" else f"{directory} lies on {kind}, not on btrfs"

    def status(self) -> list[tuple[str, str]]:
        """Docker shows the versions of the library here; there is none."""
        return [("Btrfs", "")]

    def create(self, container: str, layers: Sequence[str], size: int | None = None) -> None:
        """See the base class."""
        size = size or self._size
        final = os.path.join(self._directory, container)
        if os.path.exists(final):
            raise Conflict(f"container {container} already has a root file system")
        base = self._base(layers)
        temporary = os.path.join(self._directory, "." + container)
        self._drop(temporary)
        try:
            os.mkdir(temporary, 0o700)
            root = os.path.join(temporary, "root")
            _snapshot(base, root)
            if size is not None:
                _limit(root, size)
            os.rename(temporary, final)
        except OSError as error:
            self._drop(temporary)
            raise KernelError("create root of container", final, error.errno or 5) from error

    def _base(self, layers: Sequence[str]) -> str:
        """The subvolume with the merged layers, made when it is not there."""
        bases = os.path.join(self._directory, ".bases")
        os.makedirs(bases, mode=0o700, exist_ok=True)
        text = "\n".join(layers)
        name = hashlib.sha256(text.encode()).hexdigest()
        path = os.path.join(bases, name)
        if os.path.isdir(path):
            return path
        temporary = os.path.join(bases, ".tmp-" + name)
        _destroy(temporary)
        _create_subvolume(temporary)
        try:
            copy_tree(self._stack(layers), temporary)
            with open(path + ".layers", "w", encoding="ascii") as file:
                file.write(text)
            os.rename(temporary, path)
        except BaseException:
            _destroy(temporary)
            raise
        return path

    def remove(self, container: str) -> None:
        """See the base class."""
        final = os.path.join(self._directory, container)
        temporary = os.path.join(self._directory, "." + container)
        self._drop(temporary)
        if os.path.isdir(final):
            os.rename(final, temporary)
            self._drop(temporary)

    def forget(self, layers: Collection[str]) -> None:
        """See the base class."""
        bases = os.path.join(self._directory, ".bases")
        if not os.path.isdir(bases):
            return
        for name in os.listdir(bases):
            path = os.path.join(bases, name.removesuffix(".layers"))
            if name.startswith(".tmp-"):
                _destroy(os.path.join(bases, name))
            elif name.endswith(".layers"):
                with open(os.path.join(bases, name), encoding="ascii") as file:
                    used = set(file.read().split("\n"))
                if used & set(layers):
                    _destroy(path)
                    os.unlink(path + ".layers")

    def _drop(self, home: str) -> None:
        _destroy(os.path.join(home, "root"))
        remove_path(home)


def _call(request: int, parent: str, name: str, source: int = 0) -> None:
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, request, bytearray(_ARGUMENTS.pack(source, os.fsencode(name))))
    finally:
        os.close(descriptor)


def _create_subvolume(path: str) -> None:
    _call(_SUBVOLUME_CREATE, *os.path.split(path))


def _snapshot(source: str, path: str) -> None:
    descriptor = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _call(_SNAPSHOT_CREATE, *os.path.split(path), source=descriptor)
    finally:
        os.close(descriptor)


def _limit(path: str, size: int) -> None:
    """Let a subvolume hold at most ``size`` bytes that are not shared with its base."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(FileExistsError):  # quotas are on already
            fcntl.ioctl(descriptor, _QUOTA_CONTROL, bytearray(struct.pack("QQ", _ENABLE, 0)))
        limits = struct.pack("6Q", 0, _EXCLUSIVE, 0, size, 0, 0)
        fcntl.ioctl(descriptor, _GROUP_LIMIT, limits)
    finally:
        os.close(descriptor)


def _destroy(path: str) -> None:
    """Delete a subvolume with all in it; nothing happens when it is not there."""
    if not os.path.isdir(path):
        return
    with suppress(FileNotFoundError):
        _call(_SNAPSHOT_DESTROY, *os.path.split(path))
