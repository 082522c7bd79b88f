"""The networks ``host`` and ``none`` (whose driver is called ``null``): nothing is made."""

from __future__ import annotations

from wherry.errors import Forbidden
from wherry.network.firewall import Fence
from wherry.network.kernel import Kernel
from wherry.network.model import Endpoint, Network


class NullDriver:
    """A driver without any effect, of which each name allows one network."""

    has_addresses = False
    owns_gateway = False

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, network: Network) -> Network:
        if network.is_user_defined:
            raise Forbidden(f'only one instance of "{self.name}" network is allowed')
        return network

    def interface(self, network: Network) -> str:
        return ""

    def ensure(self, network: Network, kernel: Kernel) -> None:
        pass

    def destroy(self, network: Network, kernel: Kernel) -> None:
        pass

    def plug(self, network: Network, endpoint: Endpoint, namespace_fd: int, kernel: Kernel) -> None:
        pass

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
