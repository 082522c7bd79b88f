"""A device-mapper thin pool and the volumes in it (thin-provisioning.rst in the kernel's docs).

Each volume has a record, ``<directory>/volumes/<key>``; one that is being made or removed ends in
``.new``. The record comes before the volume and goes after it, so whatever a crash leaves in the
pool has a record that tells its id.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from wherry.errors import InvalidParameter, KernelError, NotFound
from wherry.linux import devicemapper, loop
from wherry.linux.devicemapper import SECTOR, Target
from wherry.linux.files import sync_directory

BLOCK_SECTORS = 128
_BUSY_SECONDS = 30.0
_MOST_IDS = 1 << 24


@dataclass(frozen=True, slots=True)
class Volume:
    """One thin volume: its id in the pool, its size, and the layers that are in it."""

    id: int
    size: int
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Space:
    """How full a pool is, in bytes."""

    data_used: int
    data: int
    metadata_used: int
    metadata: int


class ThinPool:
    """The pool ``name`` and the volumes that records in ``directory`` tell of."""

    def __init__(self, name: str, directory: str, devices: PoolDevices) -> None:
        """Open the pool, made when it is not active; sweep what a crash left."""
        self.name = devices.pool or name
        self._prefix = name
        self._volumes = os.path.join(directory, "volumes")
        self._lock = threading.Lock()
        os.makedirs(self._volumes, mode=0o700, exist_ok=True)
        number = devicemapper.device(self.name)
        if number is None:
            if devices.pool:
                raise InvalidParameter(f"dm.thinpooldev: there is no thin pool {devices.pool}")
            number = devices.activate(self.name)
        self._device = f"{os.major(number)}:{os.minor(number)}"
        for record in os.listdir(self._volumes):
            if record.endswith(".new"):
                self._discard(record)

    # Volumes -----------------------------------------------------------------------------

    def find(self, key: str) -> Volume | None:
        """The finished volume of a key."""
        return self._read(key)

    def _read(self, record: str) -> Volume | None:
        try:
            with open(os.path.join(self._volumes, record), encoding="utf-8") as file:
                value = json.load(file)
        except FileNotFoundError:
            return None
        return Volume(value["id"], value["size"], tuple(value["layers"]))

    def all(self) -> dict[str, Volume]:
        """Every finished volume by key."""
        found = ((key, self._read(key)) for key in sorted(os.listdir(self._volumes)))
        return {key: volume for key, volume in found if volume and not key.endswith(".new")}

    @contextmanager
    def making(
        self, key: str, origin: str | None, size: int, layers: tuple[str, ...] = ()
    ) -> Iterator[str]:
        """Make a volume, empty or a snapshot of the inactive ``origin``; gives its device node.

        It is finished, and inactive again, when the context ends; a failure removes it.
        """
        record = f"{key}.new"
        with self._lock:
            volume = Volume(self._free_id(), size, layers)
            self._write(record, volume)
        try:
            self._create(volume, origin)
            yield self._activate(record, volume)
            self._deactivate(record)
            os.rename(self._path(record), self._path(key))
            sync_directory(self._volumes)
        except BaseException:
            self._discard(record)
            raise

    def _create(self, volume: Volume, origin: str | None) -> None:
        text = f"create_thin {volume.id}"
        if origin is not None:
            source = self.find(origin)
            if source is None:
                raise NotFound(f"thin volume {origin} does not exist")
            text = f"create_snap {volume.id} {source.id}"
        try:
            devicemapper.message(self.name, text)
        except KernelError as error:
            if error.errno != errno.EEXIST:
                raise
            devicemapper.message(self.name, f"delete {volume.id}")
            devicemapper.message(self.name, text)

    def _free_id(self) -> int:
        records = (self._read(record) for record in os.listdir(self._volumes))
        taken = {volume.id for volume in records if volume}
        return next(number for number in range(1, _MOST_IDS) if number not in taken)

    def _write(self, record: str, volume: Volume) -> None:
        with open(self._path(record), "w", encoding="utf-8") as file:
            json.dump(asdict(volume), file)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(self._volumes)

    def _path(self, record: str) -> str:
        return os.path.join(self._volumes, record)

    def node(self, key: str) -> str:
        """The device node of a volume, which is activated when it is not."""
        volume = self.find(key)
        if volume is None:
            raise NotFound(f"thin volume {key} does not exist")
        return self._activate(key, volume)

    def device_name(self, key: str) -> str:
        """Its name in device-mapper."""
        return f"{self._prefix}-{key.removesuffix('.new')[:64]}"

    def _activate(self, record: str, volume: Volume) -> str:
        name = self.device_name(record)
        number = devicemapper.device(name)
        if number is None:
            table = Target(volume.size // SECTOR, "thin", f"{self._device} {volume.id}")
            number = devicemapper.activate(name, table)
        return devicemapper.node(number)

    def _deactivate(self, record: str) -> None:
        """Remove the device; those who still have it open (udev, a namespace that ends) may go."""
        name = self.device_name(record)
        deadline = time.monotonic() + _BUSY_SECONDS
        while devicemapper.device(name) is not None:
            try:
                devicemapper.remove(name)
                return
            except KernelError as error:
                if error.errno == errno.ENXIO:
                    return
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def remove(self, key: str) -> None:
        """Remove a volume; nothing happens when there is none."""
        with suppress(FileNotFoundError):
            os.rename(self._path(key), self._path(f"{key}.new"))
            self._discard(f"{key}.new")

    def _discard(self, record: str) -> None:
        volume = self._read(record)
        if volume is None:
            return
        self._deactivate(record)
        try:
            devicemapper.message(self.name, f"delete {volume.id}")
        except KernelError as error:
            if error.errno != errno.ENODATA:  # it was never made
                raise
        os.unlink(self._path(record))

    def space(self) -> Space:
        """How full the pool is."""
        # "<transaction> <used>/<total metadata blocks> <used>/<total data blocks> …"
        _, metadata, data, *_ = devicemapper.status(self.name).split()
        meta_used, meta_total = (int(part) * 4096 for part in metadata.split("/"))
        block = BLOCK_SECTORS * SECTOR
        data_used, data_total = (int(part) * block for part in data.split("/"))
        return Space(data_used, data_total, meta_used, meta_total)

    def close(self) -> None:
        """Take the pool down; its volumes must be inactive. What it holds stays."""
        devicemapper.remove(self.name)


@dataclass(frozen=True, slots=True)
class PoolDevices:
    """What a pool lies on: an existing ``pool``, two block devices, or two sparse files."""

    pool: str = ""
    data: str = ""
    metadata: str = ""
    data_bytes: int = 0
    metadata_bytes: int = 0

    def activate(self, name: str) -> int:
        """Make the pool's device; returns its number."""
        data, metadata = self._open(self.data, self.data_bytes), -1
        try:
            metadata = self._open(self.metadata, self.metadata_bytes)
            sectors = loop.block_size(data) // SECTOR
            devices = " ".join(
                f"{os.major(number)}:{os.minor(number)}"
                for number in (os.fstat(metadata).st_rdev, os.fstat(data).st_rdev)
            )
            parameters = f"{devices} {BLOCK_SECTORS} 32768 2 skip_block_zeroing error_if_no_space"
            sectors -= sectors % BLOCK_SECTORS
            return devicemapper.activate(name, Target(sectors, "thin-pool", parameters))
        finally:
            for descriptor in (data, metadata):
                if descriptor >= 0:
                    os.close(descriptor)

    def _open(self, path: str, size: int) -> int:
        """A descriptor of a block device, or of a loop device over a file of at least ``size``."""
        if size:
            with open(path, "ab") as file:
                if file.tell() < size:
                    file.truncate(size)
            return loop.attach(path)
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
