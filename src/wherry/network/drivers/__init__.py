"""Network drivers: what a network is made of. One file a driver, found by entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

from wherry.errors import NotFound
from wherry.network.drivers.base import NetworkDriver
from wherry.network.drivers.bridge import BridgeDriver
from wherry.network.drivers.ipvlan import IpvlanDriver
from wherry.network.drivers.macvlan import MacvlanDriver
from wherry.network.drivers.missing import MissingDriver
from wherry.network.drivers.null import NullDriver
from wherry.network.model import Network

ENTRY_POINTS = "wherry.network_drivers"


def built_in() -> dict[str, NetworkDriver]:
    """The drivers that come with Wherry, by name."""
    drivers: list[NetworkDriver] = [
        BridgeDriver(),
        NullDriver("host"),
        NullDriver("null"),
        MacvlanDriver(),
        IpvlanDriver(),
    ]
    return {driver.name: driver for driver in drivers}


class Drivers:
    """Drivers by name; those of other packages are loaded when first asked for."""

    def __init__(self) -> None:
        self._loaded = built_in()

    def get(self, name: str) -> NetworkDriver:
        """The driver called ``name``; raises NotFound in Docker's words."""
        if name not in self._loaded:
            for point in entry_points(group=ENTRY_POINTS, name=name):
                driver: NetworkDriver = point.load()()
                self._loaded[name] = driver
                return driver
            raise NotFound(f'plugin "{name}" not found')
        return self._loaded[name]

    def of(self, network: Network) -> NetworkDriver:
        """The driver of a network that there is, also when its package is gone."""
        try:
            return self.get(network.driver)
        except NotFound:
            return MissingDriver(network.driver)

    def names(self) -> list[str]:
        """Names of all drivers, for ``info``."""
        return sorted({*self._loaded, *(point.name for point in entry_points(group=ENTRY_POINTS))})
