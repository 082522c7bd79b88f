"""The host side of the kernel's network, used from the network room's one worker thread."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Mapping

from wherry.errors import KernelError
from wherry.instance import Instance
from wherry.network import netlink
from wherry.network.netlink import Link, Request, RouteSocket

_FIRST_NUMBER = 1 << 29


def write_sysctl(path: str, value: str, *, missing_ok: bool = False) -> None:
    """Set ``/proc/sys/net/<path>`` of the calling thread's namespace unless it has the value.

    Raises KernelError; with ``missing_ok`` a kernel without the setting is no error.
    """
    full = f"/proc/sys/net/{path}"
    try:
        with open(full, "rb", buffering=0) as file:
            if file.read(64).strip() == value.encode():
                return
        with open(full, "wb", buffering=0) as file:
            file.write(value.encode())
    except OSError as error:
        if missing_ok and isinstance(error, FileNotFoundError):
            return
        raise KernelError(f"set sysctl to {value}", full, error.errno or 0) from error


def read_sysctl(path: str) -> str:
    """The value of ``/proc/sys/net/<path>``, empty when the kernel has no such setting."""
    with contextlib.suppress(OSError), open(f"/proc/sys/net/{path}", encoding="ascii") as file:
        return file.read().strip()
    return ""


class Kernel:
    """A netlink socket in the host's namespace, and the instance whose names it uses."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.route = RouteSocket()
        self._numbers = _FIRST_NUMBER + secrets.randbelow(_FIRST_NUMBER)  # of several engines

    def close(self) -> None:
        self.route.close()

    def run(self, *requests: Request) -> None:
        """Send requests as one batch; see RouteSocket.run."""
        self.route.run(requests)

    def link(self, name: str) -> Link | None:
        return self.route.link(name)

    def link_index(self, name: str) -> int:
        """The index of an interface; raises KernelError when there is none."""
        link = self.link(name)
        if link is None:
            raise KernelError("find interface", name, 19)
        return link.index

    @property
    def alias(self) -> str:
        """What interfaces of this engine carry, so that it knows them again after a crash."""
        return f"{self.instance.name} network"

    def namespace_number(self, namespace_fd: int) -> int:
        """A number by which a container's network namespace is reached when its process is gone.

        Numbers that the kernel chooses go to the next namespace at once; these are high and never
        come again, so that what is meant for a namespace that is gone reaches no other.
        """
        known = self.route.namespace_number(namespace_fd)
        if known is not None:
            return known
        self._numbers += 1
        self.run(netlink.number_namespace(self._numbers, namespace_fd))
        return self._numbers

    def sweep(self, interfaces: Collection[str], endpoints: Collection[str]) -> list[str]:
        """Delete what a crash left: networks' interfaces and veths that nobody has any more.

        ``endpoints`` holds the ids of those that live. Returns the names of what was deleted.
        """
        veths = {self.instance.veth(endpoint[:7]) for endpoint in endpoints}
        prefix = self.instance.veth("")
        stale = [
            link.name
            for link in self.route.links()
            if (link.alias == self.alias and link.name not in interfaces)
            or (link.kind == "veth" and link.name.startswith(prefix) and link.name not in veths)
        ]
        for name in stale:
            self.run(netlink.delete_link(name))
        return stale

    def links(self) -> Mapping[str, Link]:
        return {link.name: link for link in self.route.links()}
