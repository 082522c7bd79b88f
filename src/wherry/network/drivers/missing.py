"""Stands in for the driver of a network that is kept while the driver's package is gone."""

from __future__ import annotations

from wherry.errors import NotFound
from wherry.network.firewall import Fence
from wherry.network.kernel import Kernel
from wherry.network.model import Endpoint, Network


class MissingDriver:
    """Shows, ends and forgets what there is; nothing new can be made."""

    has_addresses = True
    owns_gateway = False

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, network: Network) -> Network:
        raise self._failure()

    def interface(self, network: Network) -> str:
        return ""

    def ensure(self, network: Network, kernel: Kernel) -> None:
        raise self._failure()

    def destroy(self, network: Network, kernel: Kernel) -> None:
        pass

    def plug(self, network: Network, endpoint: Endpoint, namespace_fd: int, kernel: Kernel) -> None:
        raise self._failure()

    def unplug(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> None:
        pass

    def withdraw(
        self, network: Network, endpoint: Endpoint, namespace: int, kernel: Kernel
    ) -> None:
        pass

    def is_plugged(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> bool:
        return True

    def fence(self, network: Network) -> Fence | None:
        return None

    def _failure(self) -> NotFound:
        return NotFound(f'plugin "{self.name}" not found')
