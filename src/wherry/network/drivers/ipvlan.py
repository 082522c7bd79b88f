"""The ipvlan driver: containers share the MAC of the host's interface and have own addresses."""

from __future__ import annotations

from wherry.errors import InvalidParameter
from wherry.network import netlink
from wherry.network.drivers.parent import ParentDriver
from wherry.network.kernel import Kernel
from wherry.network.model import Endpoint, Network

MODE, FLAG = "ipvlan_mode", "ipvlan_flag"


class IpvlanDriver(ParentDriver):
    """Options: ``parent``, ``ipvlan_mode`` (l2, l3, l3s), ``ipvlan_flag``."""

    name = "ipvlan"

    def check(self, network: Network) -> Network:
        mode, flag = network.options.get(MODE, "l2"), network.options.get(FLAG, "bridge")
        if mode not in netlink.IPVLAN_MODES:
            raise InvalidParameter(
                f"requested ipvlan mode '{mode}' is not valid,"
                " 'l2' mode is the ipvlan driver default"
            )
        if flag not in netlink.IPVLAN_FLAGS:
            raise InvalidParameter(
                f"requested ipvlan flag '{flag}' is not valid,"
                " 'bridge' is the ipvlan driver default"
            )
        return super().check(network)

    def plug(self, network: Network, endpoint: Endpoint, namespace_fd: int, kernel: Kernel) -> None:
        parent = kernel.link_index(self.interface(network))
        mode, flag = network.options.get(MODE, "l2"), network.options.get(FLAG, "bridge")
        kernel.run(netlink.add_ipvlan(endpoint.interface, parent, mode, flag, namespace_fd))
