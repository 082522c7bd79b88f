"""What a network driver answers."""

from __future__ import annotations

from typing import Protocol

from wherry.network.firewall import Fence
from wherry.network.kernel import Kernel
from wherry.network.model import Endpoint, Network


class NetworkDriver(Protocol):
    """One kind of network.

    The methods that take a Kernel run in the network room's worker thread, may block, and raise
    KernelError. All of them may be repeated after a crash: they make what is missing.
    """

    name: str
    #: Containers get addresses from the network's subnets.
    has_addresses: bool
    #: The gateway address belongs to the host (a bridge), not to a router outside.
    owns_gateway: bool

    def check(self, network: Network) -> Network:
        """The network with the driver's defaults filled in; raises InvalidParameter."""

    def interface(self, network: Network) -> str:
        """The host's interface of the network, or an empty string."""

    def ensure(self, network: Network, kernel: Kernel) -> None:
        """Make or repair what the network needs on the host."""

    def destroy(self, network: Network, kernel: Kernel) -> None:
        """Remove what ``ensure`` made."""

    def plug(self, network: Network, endpoint: Endpoint, namespace_fd: int, kernel: Kernel) -> None:
        """Make ``endpoint.interface`` inside the namespace, down and without addresses."""

    def unplug(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> None:
        """Remove the host's end of an endpoint, if there is one."""

    def withdraw(
        self, network: Network, endpoint: Endpoint, namespace: int, kernel: Kernel
    ) -> None:
        """Take the endpoint of an ended container off the network.

        Its namespace may live on for a minute (connections that are still being closed) and must
        not be heard again: others get its address next. ``namespace`` is its number for the
        kernel (see Kernel.namespace_number), no longer valid when it is gone. What is cheap
        suffices: the interface is deleted with the namespace.
        """

    def is_plugged(self, network: Network, endpoint: Endpoint, kernel: Kernel) -> bool:
        """Whether the host's end of a live endpoint is in its place, as far as one can see."""

    def fence(self, network: Network) -> Fence | None:
        """What the firewall needs to know, or None when packets do not pass the host."""
