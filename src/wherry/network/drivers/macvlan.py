"""The macvlan driver: containers are neighbours on the host's own segment, with their own MACs."""

from __future__ import annotations

from wherry.errors import InvalidParameter
from wherry.network import netlink
from wherry.network.drivers.parent import ParentDriver
from wherry.network.kernel import Kernel
from wherry.network.model import Endpoint, Network

MODE = "macvlan_mode"


class MacvlanDriver(ParentDriver):
    """Options: ``parent`` (interface, or interface.VLAN) and ``macvlan_mode``."""

    name = "macvlan"

    def check(self, network: Network) -> Network:
        mode = network.options.get(MODE, "bridge")
        if mode not in netlink.MACVLAN_MODES:
            raise InvalidParameter(
                f"requested macvlan mode '{mode}' is not valid,"
                " 'bridge' mode is the macvlan driver default"
            )
        return super().check(network)

    def plug(self, network: Network, endpoint: Endpoint, namespace_fd: int, kernel: Kernel) -> None:
        parent = kernel.link_index(self.interface(network))
        mode = network.options.get(MODE, "bridge")
        kernel.run(
            netlink.add_macvlan(endpoint.interface, parent, mode, namespace_fd, endpoint.mac)
        )
