"""The volumes of one engine: the service that the engine calls.

All methods are synchronous; ``mount``, ``populate``, ``remove`` and ``prune`` may take long and
belong into a thread. A volume is referred to by containers from their creation to their removal,
and mounted for them while they run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from wherry import faults
from wherry.errors import Conflict, InvalidParameter, KernelError, NotFound, WherryError
from wherry.fs.measuring import disk_usage_of
from wherry.fs.opening import open_in_root
from wherry.linux import mounts
from wherry.storage.statedb import StateDB
from wherry.volumes import populate
from wherry.volumes.drivers import Drivers
from wherry.volumes.drivers.base import VolumeDriver
from wherry.volumes.drivers.local import LocalDriver
from wherry.volumes.records import ANONYMOUS, Records, Volume

# (action, volume name, attributes) -> None; actions: create, mount, unmount, destroy.
EventSink: TypeAlias = Callable[[str, str, Mapping[str, str]], None]
Views: TypeAlias = list[dict[str, Any]]


def _no_event(action: str, volume: str, attributes: Mapping[str, str]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed, and how many bytes that was."""

    names: tuple[str, ...]
    size: int


class Volumes:
    """Volumes by name, and the containers that use them."""

    def __init__(
        self,
        db: StateDB,
        root: str,
        runtime_directory: str,
        on_event: EventSink = _no_event,
    ) -> None:
        """``root`` holds the local volumes; ``runtime_directory`` mounts of parts of volumes."""
        self._records = Records(db)
        self._local = LocalDriver(root)
        self._drivers = Drivers(self._local)
        self._runtime = os.path.join(runtime_directory, "volumes")
        self._on_event = on_event

    # The six operations

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """``POST /volumes/create``: a volume of that name and driver that exists is returned."""
        name = body.get("Name") or ""
        labels = _texts(body.get("Labels"))
        if not name:
            name = secrets.token_hex(32)
            labels = {ANONYMOUS: "", **(labels or {})}
        options = _texts(body.get("DriverOpts"))
        return self._view(self._create(name, body.get("Driver") or "local", options, labels))

    def _create(
        self,
        name: str,
        driver_name: str,
        options: dict[str, str] | None,
        labels: dict[str, str] | None,
    ) -> Volume:
        present = self._records.volume(name)
        if present is not None:
            if driver_name != present.driver:
                raise Conflict(
                    f"create {name}: a volume named {name} already exists with the"
                    f" {present.driver} driver: conflict: volume name must be unique"
                )
            return present
        try:
            driver = self._drivers.get(driver_name)
        except NotFound as error:
            raise NotFound(f"create {name}: {error}") from None
        driver.check(name, options or {})
        volume = Volume(name, driver_name, _now(), options, labels)
        # The folder first: a crash leaves a folder without a volume, which the next create takes.
        driver.create(name, options or {})
        faults.point("volume.made")
        self._records.save(volume)
        self._event("create", volume)
        return volume

    def list(self) -> Views:
        """``Volumes`` of ``GET /volumes`` without filters; filters are the caller's."""
        return [self._view(volume) for volume in self._records.volumes()]

    def inspect(self, name: str) -> dict[str, Any]:
        """``GET /volumes/{name}``."""
        return self._view(self._get(name))

    def remove(self, name: str, *, force: bool = False) -> None:
        """``DELETE /volumes/{name}``; with ``force`` a volume that is not there is no error."""
        volume = self._records.volume(name)
        if volume is None:
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        with self._records.db.transaction():
            users = self._records.references(name)
            if users:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
            driver = self._driver(volume)
            driver.remove(name, volume.options or {})
            self._records.delete(name)
        driver.purge(name)
        self._event("destroy", volume)

    def unused(self) -> Sequence[Volume]:
        """Volumes that no container refers to."""
        counts = self._records.reference_counts()
        return [volume for volume in self._records.volumes() if volume.name not in counts]

    def prune(self, chosen: Collection[str] | None = None, *, everything: bool = False) -> Pruned:
        """Remove volumes that no container refers to: anonymous ones, or all of them.

        ``chosen`` limits this to these names (the caller's filters).
        """
        names, size = [], 0
        for volume in self.unused():
            if not everything and not volume.is_anonymous:
                continue
            if chosen is not None and volume.name not in chosen:
                continue
            weight = self._size(volume)
            with contextlib.suppress(Conflict, NotFound):
                self.remove(volume.name)
                names.append(volume.name)
                size += max(0, weight)
        return Pruned(tuple(names), size)

    def usage(self) -> Views:
        """``Volumes`` of ``GET /system/df``: views with who uses them, and bytes on disk."""
        counts = self._records.reference_counts()
        return [
            {
                **self._view(volume),
                "UsageData": {"RefCount": counts.get(volume.name, 0), "Size": self._size(volume)},
            }
            for volume in self._records.volumes()
        ]

    def _size(self, volume: Volume) -> int:
        """Bytes on disk below a volume that is a folder of this host; -1 for others."""
        if volume.driver != "local" or volume.options:
            return -1
        return disk_usage_of(self._local.path(volume.name), directories=True)

    def drivers(self) -> Sequence[str]:
        """Names of the volume drivers, for ``info``."""
        return self._drivers.names()

    # Containers

    def acquire(
        self,
        container: str,
        name: str = "",
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Let a new container refer to a volume, which is made when it is missing.

        Without a name it is an anonymous one. Returns its view.
        """
        present = self._records.volume(name) if name else None
        label = dict(labels) if labels else None
        if not name:
            name = secrets.token_hex(32)
            label = {ANONYMOUS: "", **(label or {})}
        wanted = driver or (present.driver if present else "local")
        with self._records.db.transaction():
            volume = self._create(name, wanted, dict(options) if options else None, label)
            self._records.refer(name, container)
        return self._view(volume)

    def mount(
        self,
        name: str,
        container: str,
        subpath: str = "",
        *,
        told: Mapping[str, str] | None = None,
    ) -> str:
        """The path on the host that a starting container shall see; undone by ``unmount``.

        ``told`` are further attributes of the event; without them it is told to nobody.

        A ``subpath`` is resolved inside the volume by the kernel and mounted aside, so that
        nobody can replace it by a link afterwards.
        """
        volume = self._get(name)
        self._records.use(name, container)
        driver = self._driver(volume)
        try:
            path = driver.mount(name, volume.options or {})
        except WherryError as error:
            raise WherryError(
                f"error while mounting volume '{driver.path(name)}': {error}"
            ) from error
        if told is not None:
            self._event("mount", volume, {"container": container, **told})
        return self._mount_part(path, name, container, subpath) if subpath else path

    def _mount_part(self, path: str, name: str, container: str, subpath: str) -> str:
        if os.path.isabs(subpath) or ".." in subpath.split("/"):
            raise InvalidParameter(f"invalid volume subpath {subpath!r}: must be a relative path")
        root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            part = open_in_root(root, subpath, os.O_PATH)
        except KernelError as error:
            raise InvalidParameter(
                f"cannot access path {subpath} in volume {name}: {os.strerror(error.errno).lower()}"
            ) from error
        finally:
            os.close(root)
        try:
            target = self._part_target(container, name, subpath, part)
            tree = mounts.open_tree("", recursive=True, at=part)
            try:
                place = os.open(target, os.O_PATH | os.O_CLOEXEC)
                try:
                    mounts.move_mount(tree, place, target)
                finally:
                    os.close(place)
            finally:
                os.close(tree)
        finally:
            os.close(part)
        return target

    def _part_target(self, container: str, name: str, subpath: str, part: int) -> str:
        """An empty file or folder to mount ``part`` on."""
        folder = os.path.join(self._runtime, container)
        os.makedirs(folder, mode=0o701, exist_ok=True)
        key = hashlib.sha256(f"{name}\0{subpath}".encode()).hexdigest()[:32]
        target = os.path.join(folder, key)
        with contextlib.suppress(KernelError):
            mounts.unmount(target, mounts.MNT_DETACH)
        is_folder = os.path.isdir(f"/proc/self/fd/{part}")
        if is_folder:
            os.makedirs(target, exist_ok=True)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        return target

    def needs_content(self, name: str) -> bool:
        """Whether copy-up has work to do: the volume is empty. Call after ``mount``."""
        volume = self._get(name)
        return populate.needs_content(self._driver(volume).path(name))

    def populate(self, name: str, root: str, destination: str) -> bool:
        """Copy what the image mounted at ``root`` has at ``destination`` into an empty volume."""
        volume = self._get(name)
        return populate.populate(self._driver(volume).path(name), root, destination)

    def unmount(self, container: str, *, tell: bool = False) -> None:
        """Undo a container's mounts after its end; may be repeated. ``tell`` makes events."""
        folder = os.path.join(self._runtime, container)
        if os.path.isdir(folder):
            for entry in os.scandir(folder):
                with contextlib.suppress(KernelError):
                    mounts.unmount(entry.path, mounts.MNT_DETACH)
                with contextlib.suppress(OSError):
                    os.rmdir(entry.path) if entry.is_dir() else os.unlink(entry.path)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        for name in self._records.used_by(container):
            self._records.unuse(name, container)
            volume = self._records.volume(name)
            if volume is None:
                continue
            if not self._records.users(name):
                with contextlib.suppress(WherryError):
                    self._driver(volume).unmount(name, volume.options or {})
            if tell:
                self._event("unmount", volume, {"container": container})

    def release(self, container: str, *, remove_anonymous: bool = False) -> Sequence[str]:
        """End a removed container's references; returns the anonymous volumes removed with it."""
        self.unmount(container)
        names = self._records.referenced_by(container)
        self._records.unrefer(container)
        removed = []
        for name in names if remove_anonymous else ():
            volume = self._records.volume(name)
            if volume is not None and volume.is_anonymous and not self._records.references(name):
                self.remove(name, force=True)
                removed.append(name)
        return removed

    def reconcile(self, existing: Collection[str], running: Collection[str]) -> None:
        """After a crash: drop what refers to containers that are gone or have ended."""
        self._local.recover({volume.name for volume in self._records.volumes()})
        for container in self._records.referring():
            if container not in existing:
                self.release(container)
            elif container not in running:
                self.unmount(container)

    def _get(self, name: str) -> Volume:
        volume = self._records.volume(name)
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    def _driver(self, volume: Volume) -> VolumeDriver:
        return self._drivers.of(volume)

    def _view(self, volume: Volume) -> dict[str, Any]:
        driver = self._driver(volume)
        view: dict[str, Any] = {
            "CreatedAt": volume.created,
            "Driver": volume.driver,
            "Labels": dict(volume.labels) if volume.labels is not None else None,
            "Mountpoint": driver.path(volume.name),
            "Name": volume.name,
            "Options": dict(volume.options) if volume.options is not None else None,
            "Scope": driver.scope,
        }
        status = driver.status(volume.name)
        if status:
            view["Status"] = dict(status)
        return view

    def _event(
        self, action: str, volume: Volume, attributes: Mapping[str, str] | None = None
    ) -> None:
        self._on_event(action, volume.name, {"driver": volume.driver, **(attributes or {})})


def _texts(values: Mapping[str, Any] | None) -> dict[str, str] | None:
    return None if values is None else {str(key): str(value) for key, value in values.items()}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
