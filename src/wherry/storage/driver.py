"""What a storage driver is: it makes root file systems out of layer directories.

Layers are extracted once, by `wherry.storage.layers`, into directories that any driver can read:
files as they are, a removed name as a 0:0 character device, a directory that hides what is below
with ``user.overlay.opaque``. A driver adds a writable part for each container and joins both. A
new driver is one file: a subclass of `StorageDriver`, and an entry point in group
``wherry.storage_drivers``.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Literal

from wherry.errors import InvalidParameter, KernelError
from wherry.linux.root import Root
from wherry.storage.archive.writer import tar_tree

GROUP = "wherry.storage_drivers"
BUILT_IN = ("overlay", "btrfs", "fuse-overlayfs", "vfs")
"""In the order in which they are preferred; aliases of Docker's drivers are in ``ALIASES``."""
ALIASES = {"overlay2": "overlay", "aufs": "overlay"}


@dataclass(frozen=True, slots=True)
class Change:
    """One path that a container added (A), changed (C) or deleted (D); absolute."""

    kind: Literal["A", "C", "D"]
    path: str


class StorageDriver(ABC):
    """The roots of containers, below ``directory``; ``layer_path`` tells a layer's directory.

    ``layers`` runs from the base up in every method. Layers never change once they exist.
    """

    name: str
    shown: str = ""
    """The name that clients see, where Docker has another one for the same thing."""
    options: frozenset[str] = frozenset()
    """The keys of ``--storage-opt`` that the driver takes."""

    def __init__(
        self, directory: str, layer_path: Callable[[str], str], options: Mapping[str, str]
    ) -> None:
        self._directory = directory
        self._layer_path = layer_path
        for name in options:
            if name not in self.options:
                raise InvalidParameter(f"{self.shown or self.name}: unknown option {name}")
        os.makedirs(directory, mode=0o700, exist_ok=True)

    @classmethod
    @abstractmethod
    def unusable(cls, directory: str) -> str:
        """Why the driver cannot work in the existing ``directory``; "" when it can."""

    @abstractmethod
    def status(self) -> list[tuple[str, str]]:
        """The pairs that ``info`` shows below the driver's name."""

    @abstractmethod
    def create(self, container: str, layers: Sequence[str], size: int | None = None) -> None:
        """Make the writable part; ``size`` limits it in bytes. Conflict when it exists."""

    @abstractmethod
    def root(self, container: str, layers: Sequence[str]) -> Root:
        """How the runtime gets the container's root."""

    @abstractmethod
    def mounted(self, container: str, layers: Sequence[str]) -> AbstractContextManager[str]:
        """The root of a container that does not run, as a host path while the context lasts."""

    @abstractmethod
    def changes(self, container: str, layers: Sequence[str]) -> Iterator[Change]:
        """What the container changed, by path; parents come before their children."""

    @abstractmethod
    def diff(
        self, container: str, layers: Sequence[str], without: Collection[str] = ()
    ) -> Iterator[bytes]:
        """The same as a layer's tar stream; ``without`` are absolute paths that are left out."""

    @abstractmethod
    def usage(self, container: str) -> int:
        """Bytes that the container's own files hold."""

    @abstractmethod
    def remove(self, container: str) -> None:
        """Remove the writable part; nothing happens when there is none."""

    def graph_data(self, container: str, layers: Sequence[str]) -> dict[str, str]:
        """The ``GraphDriver.Data`` of inspect."""
        return {}

    def take_upper(self, container: str) -> str | None:
        """Give up the writable part as a directory in layer form; None when it has no such form.

        The caller renames the directory and then calls ``remove``.
        """
        return None

    def forget(self, layers: Collection[str]) -> None:  # noqa: B027 (most keep nothing)
        """Drop what was derived from layers that are gone."""

    def containers(self) -> list[str]:
        """Ids that have a writable part."""
        return sorted(name for name in os.listdir(self._directory) if not name.startswith("."))

    def export(self, container: str, layers: Sequence[str]) -> Iterator[bytes]:
        """The whole root of a container that does not run, as a tar stream."""
        with self.mounted(container, layers) as path:
            yield from tar_tree(path)


def find_driver(name: str) -> type[StorageDriver]:
    """The class of driver ``name``; InvalidParameter when there is none."""
    name = ALIASES.get(name, name)
    for point in entry_points(group=GROUP):
        if point.name == name:
            found: type[StorageDriver] = point.load()
            return found
    raise InvalidParameter(
        f"unknown storage driver {name!r}; known are "
        + ", ".join(sorted(point.name for point in entry_points(group=GROUP)))
    )


def status_of(driver: StorageDriver, asked: str) -> list[tuple[str, str]]:
    """The pairs that ``info`` shows; they say so when another driver answers for the one asked."""
    pairs = driver.status()
    if asked == "aufs":
        pairs.append(("AUFS", f"answered by {driver.name}: the kernel never took AUFS"))
    return pairs


def _unusable(driver: type[StorageDriver], directory: str) -> str:
    """Why a driver cannot work in ``directory``; "" when it can.

    A disk that takes nothing cannot be tried: then what has made roots there before can be used,
    and without it nothing could be freed. Raises KernelError where there is none.
    """
    try:
        return driver.unusable(directory)
    except OSError as error:
        number = error.errno or errno.EIO
        if number not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        if os.path.isdir(os.path.join(directory, driver.name)):
            return ""
        raise KernelError(f"try storage driver {driver.name} in", directory, number) from error


def choose_driver(directory: str, name: str | None) -> type[StorageDriver]:
    """The driver asked for, or the first that works in ``directory``.

    Raises InvalidParameter when the one asked for does not work there.
    """
    if name:
        driver = find_driver(name)
        why = _unusable(driver, directory)
        if why:
            raise InvalidParameter(f"storage driver {name} cannot be used in {directory}: {why}")
        return driver
    reasons = []
    for candidate in BUILT_IN:
        driver = find_driver(candidate)
        why = _unusable(driver, directory)
        if not why:
            return driver
        reasons.append(f"{candidate}: {why}")
    raise InvalidParameter(f"no storage driver works in {directory}: " + "; ".join(reasons))
