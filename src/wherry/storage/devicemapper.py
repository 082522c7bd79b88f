"""The devicemapper driver: roots are file systems on thin volumes.

For each stack of layers that is used there is a base: a snapshot of the base below it, with the
top layer's files put on. A container's root is a snapshot of its base, mounted when it is first
asked for until it is removed. ``<directory>/.pool`` has the records of volumes and, unless devices
are given, the pool's two sparse files; ``<directory>/<container>/root`` is where a root is mounted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from wherry.errors import Conflict, InvalidParameter, KernelError, NotFound, Unavailable
from wherry.fs.measuring import disk_usage_of
from wherry.fs.removing import remove_path
from wherry.linux import devicemapper, mounts
from wherry.linux.root import DirectoryRoot
from wherry.storage.sizes import parse_size
from wherry.storage.thinpool import PoolDevices, ThinPool
from wherry.storage.vfs import VfsDriver, apply_layer

_BASE_SIZE = 10 << 30
_LOOP_DATA = 100 << 30
_LOOP_METADATA = 2 << 30
_FILE_SYSTEMS = {
    # Unused parts of a new thin volume read as zeros: tables and journal need no writing.
    "ext4": (("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"),
             "noinit_itable"),
    "xfs": (("mkfs.xfs", "-q", "-K"), "nouuid"),
}  # fmt: skip


class DeviceMapperDriver(VfsDriver):
    """Roots as snapshots in a thin pool."""

    name = "devicemapper"
    options = frozenset(
        {
            "dm.thinpooldev",
            "dm.datadev",
            "dm.metadatadev",
            "dm.loopdatasize",
            "dm.loopmetadatasize",
            "dm.basesize",
            "dm.fs",
            "dm.mkfsarg",
            "dm.mountopt",
        }
    )

    def __init__(
        self, directory: str, layer_path: Callable[[str], str], options: Mapping[str, str]
    ) -> None:
        super().__init__(directory, layer_path, options)
        self._kind = options.get("dm.fs", "ext4")
        if self._kind not in _FILE_SYSTEMS:
            raise InvalidParameter(f"devicemapper: unsupported filesystem {self._kind}")
        command, fixed = _FILE_SYSTEMS[self._kind]
        self._mkfs = (*command, *options.get("dm.mkfsarg", "").split())
        self._mount_options = ",".join(filter(None, (fixed, options.get("dm.mountopt"))))
        if shutil.which(command[0]) is None:
            raise Unavailable(f"the devicemapper driver needs the program {command[0]}")
        self._size = parse_size(options["dm.basesize"]) if "dm.basesize" in options else _BASE_SIZE
        home = os.path.join(directory, ".pool")
        os.makedirs(home, mode=0o700, exist_ok=True)
        prefix = f"wherry-{hashlib.sha256(os.path.realpath(directory).encode()).hexdigest()[:12]}"
        self._pool = ThinPool(prefix, home, _devices(options, home))

    @classmethod
    def unusable(cls, directory: str) -> str:
        """Needs the control node and the kernel's thin pool."""
        if not os.access(devicemapper.CONTROL, os.R_OK | os.W_OK):
            return f"{devicemapper.CONTROL} cannot be opened"
        known = devicemapper.has_target("thin-pool") and devicemapper.has_target("thin")
        return "" if known else "the kernel has no thin provisioning (module dm_thin_pool)"

    def status(self) -> list[tuple[str, str]]:
        """The pairs of Docker's devicemapper that say something."""
        space = self._pool.space()
        return [
            ("Pool Name", self._pool.name),
            ("Base Device Size", _shown(self._size)),
            ("Backing Filesystem", self._kind),
            ("Data Space Used", _shown(space.data_used)),
            ("Data Space Total", _shown(space.data)),
            ("Data Space Available", _shown(space.data - space.data_used)),
            ("Metadata Space Used", _shown(space.metadata_used)),
            ("Metadata Space Total", _shown(space.metadata)),
        ]

    # Bases -------------------------------------------------------------------------------

    def _base(self, layers: Sequence[str]) -> str:
        """The key of the volume with these layers, made when it is not there."""
        key = hashlib.sha256("\n".join(layers).encode()).hexdigest()
        if self._pool.find(key) is not None:
            return key
        below = self._base(layers[:-1]) if layers else None
        scratch = os.path.join(self._directory, f".base-{key}")
        with self._pool.making(key, below, self._size, tuple(layers)) as node:
            if not layers:
                _run(*self._mkfs, node)
            os.makedirs(scratch, mode=0o700, exist_ok=True)
            self._mount(node, scratch)
            try:
                if layers:
                    apply_layer(self._layer_path(layers[-1]), scratch)
                else:
                    with suppress(FileNotFoundError):
                        os.rmdir(os.path.join(scratch, "lost+found"))
            finally:
                mounts.unmount(scratch)
                os.rmdir(scratch)
        return key

    def forget(self, layers: Collection[str]) -> None:
        """See the base class."""
        for key, volume in self._pool.all().items():
            if not set(layers).isdisjoint(volume.layers):
                self._pool.remove(key)

    # Containers --------------------------------------------------------------------------

    def create(self, container: str, layers: Sequence[str], size: int | None = None) -> None:
        """See the base class."""
        if size is not None and size < self._size:
            raise InvalidParameter(f"Container size cannot be smaller than {_shown(self._size)}")
        final = os.path.join(self._directory, container)
        if os.path.exists(final):
            raise Conflict(f"container {container} already has a root file system")
        self._pool.remove(container)
        base = self._base(layers)
        try:
            with self._pool.making(container, base, size or self._size) as node:
                os.makedirs(os.path.join(final, "root"), mode=0o700)
                if size is not None and size > self._size:
                    self._grow(node, os.path.join(final, "root"))
        except BaseException:
            remove_path(final)
            raise

    def _grow(self, node: str, target: str) -> None:
        """Let the file system fill its volume; both kinds can be grown while mounted."""
        self._mount(node, target)
        try:
            _run(*(("resize2fs", node) if self._kind == "ext4" else ("xfs_growfs", target)))
        finally:
            mounts.unmount(target)

    def root(self, container: str, layers: Sequence[str]) -> DirectoryRoot:
        """See the base class; mounts when that was not done yet."""
        target = self._path(container)
        if not os.path.isdir(target):
            raise NotFound(f"container {container} has no root file system")
        if not os.path.ismount(target):
            self._mount(self._pool.node(container), target)
        return DirectoryRoot(target)

    @contextmanager
    def mounted(self, container: str, layers: Sequence[str]) -> Iterator[str]:
        """See the base class."""
        yield self.root(container, layers).path

    def usage(self, container: str) -> int:
        """See the base class."""
        return disk_usage_of(self.root(container, ()).path)

    def remove(self, container: str) -> None:
        """See the base class."""
        with suppress(KernelError):
            mounts.unmount(self._path(container), mounts.MNT_DETACH)
        self._pool.remove(container)
        remove_path(os.path.join(self._directory, container))

    def graph_data(self, container: str, layers: Sequence[str]) -> dict[str, str]:
        """The pairs of Docker's devicemapper."""
        volume = self._pool.find(container)
        if volume is None:
            return {}
        return {
            "DeviceId": str(volume.id),
            "DeviceName": self._pool.device_name(container),
            "DeviceSize": str(volume.size),
        }

    def _mount(self, node: str, target: str) -> None:
        mounts.mount(node, target, self._kind, 0, self._mount_options)

    def close(self) -> None:
        """Unmount all roots and take the pool down; everything stays on disk."""
        for container in self.containers():
            with suppress(KernelError):
                mounts.unmount(self._path(container))
        self._pool.close()


def _devices(options: Mapping[str, str], home: str) -> PoolDevices:
    """What the options say of the pool. Raises InvalidParameter."""
    if pool := options.get("dm.thinpooldev"):
        return PoolDevices(pool=os.path.basename(pool))
    data, metadata = options.get("dm.datadev", ""), options.get("dm.metadatadev", "")
    if bool(data) != bool(metadata):
        raise InvalidParameter("devicemapper: dm.datadev and dm.metadatadev go together")
    if data:
        return PoolDevices(data=data, metadata=metadata)

    def size(option: str, default: int) -> int:
        return parse_size(options[option]) if option in options else default

    return PoolDevices(
        data=os.path.join(home, "data"),
        metadata=os.path.join(home, "metadata"),
        data_bytes=size("dm.loopdatasize", _LOOP_DATA),
        metadata_bytes=size("dm.loopmetadatasize", _LOOP_METADATA),
    )


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")


def _shown(size: float) -> str:
    """A size with SI units, as Docker shows it here."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.4g}{unit}"
        size /= 1000
    return f"{size:.4g}TB"
