"""Volume drivers: where volumes are kept. One file a driver, found by entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

from wherry.errors import NotFound
from wherry.volumes.drivers.base import VolumeDriver
from wherry.volumes.drivers.missing import MissingDriver
from wherry.volumes.records import Volume

ENTRY_POINTS = "wherry.volume_drivers"


class Drivers:
    """Drivers by name; those of other packages are loaded when first asked for.

    An entry point names a class that is called without arguments.
    """

    def __init__(self, local: VolumeDriver) -> None:
        self._loaded: dict[str, VolumeDriver] = {local.name: local}

    def get(self, name: str) -> VolumeDriver:
        """The driver called ``name``; raises NotFound in Docker's words."""
        if name not in self._loaded:
            for point in entry_points(group=ENTRY_POINTS, name=name):
                driver: VolumeDriver = point.load()()
                self._loaded[name] = driver
                return driver
            raise NotFound(f'error looking up volume plugin {name}: plugin "{name}" not found')
        return self._loaded[name]

    def of(self, volume: Volume) -> VolumeDriver:
        """The driver of a volume that there is, also when its package is gone."""
        try:
            return self.get(volume.driver)
        except NotFound:
            return MissingDriver(volume.driver)

    def names(self) -> list[str]:
        """Names of all drivers, for ``info``."""
        return sorted({*self._loaded, *(point.name for point in entry_points(group=ENTRY_POINTS))})
