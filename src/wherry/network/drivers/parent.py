"""What macvlan and ipvlan share: networks on a parent interface of the host."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod

from wherry.errors import InvalidParameter, KernelError
from wherry.network import netlink
from wherry.network.firewall import Fence
from wherry.network.kernel import Kernel
from wherry.network.model import Endpoint, Network
from wherry.numbers import whole_number

PARENT = "parent"


class ParentDriver(ABC):
    """A network whose containers sit beside the host on ``parent``.

    ``parent`` may be missing (then a dummy interface is made and the network is internal) or
    name a VLAN that does not exist yet (``eth0.10``), which is made and removed with the network.
    """

    name = ""
    has_addresses = True
    owns_gateway = False

    def check(self, network: Network) -> Network:
        parent = network.options.get(PARENT, "")
        if len(parent) > 15 or "/" in parent or parent == "lo":
            raise InvalidParameter(f"invalid parent interface name {parent!r}")
        return network

    def interface(self, network: Network) -> str:
        return network.options.get(PARENT) or f"dm-{network.id[:12]}"

    def ensure(self, network: Network, kernel: Kernel) -> None:
        name = self.interface(network)
        if kernel.link(name) is not None:
            return
        if not network.options.get(PARENT):
            self._make_parent(name, kernel)
            return
        base, _, tag = name.rpartition(".")
        parent = kernel.link(base) if base else None
        number = whole_number(tag)
        if parent is None or number is None or not 0 < number < 4095:
            raise InvalidParameter(
                f"network {network.name}: the requested parent interface {name} was not found on"
                " the host"
            )
        kernel.run(
            netlink.add_vlan(name, parent.index, number), netlink.set_alias(name, kernel.alias)
        )

    @staticmethod
    def _make_parent(name: str, kernel: Kernel) -> None:
        """An interface that leads nowhere: a dummy, or a bridge where the kernel has no dummies."""
        try:
            kernel.run(netlink.add_dummy(name), netlink.set_alias(name, kernel.alias))
        except KernelError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            kernel.run(netlink.add_bridge(name), netlink.set_alias(name, kernel.alias))
            kernel.run(netlink.set_link(kernel.link_index(name), name, up=True))

    def destroy(self, network: Network, kernel: Kernel) -> None:
        name = self.interface(network)
        link = kernel.link(name)
        ours = not network.options.get(PARENT) or (link and link.alias == kernel.alias)
        if link is not None and ours:
            kernel.run(netlink.delete_link(name))

    @abstractmethod
    def plug(
        self, network: Network, endpoint: Endpoint, namespace_fd: int, kernel: Kernel
    ) -> None: ...

    def unplug(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> None:
        """Nothing of the endpoint is on the host: it goes with its namespace."""
        return

    def withdraw(
        self, network: Network, endpoint: Endpoint, namespace: int, kernel: Kernel
    ) -> None:
        # A parent has one child with a MAC: as long as it is there, the next cannot go up.
        kernel.run(netlink.delete_link(endpoint.interface, namespace))

    def is_plugged(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> bool:
        return True

    def fence(self, network: Network) -> Fence | None:
        return None
