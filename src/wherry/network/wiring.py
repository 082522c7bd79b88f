"""Putting endpoints into a container's network namespace; runs in the worker thread.

The host's side makes an interface straight inside the namespace; a second netlink socket, opened
inside, configures all interfaces and routes in one batch.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from wherry.errors import InvalidParameter, KernelError
from wherry.network import netlink
from wherry.network.drivers.base import NetworkDriver
from wherry.network.kernel import Kernel, write_sysctl
from wherry.network.model import Address, Endpoint, Interface, Network
from wherry.network.netns import entered, open_namespace

SYSCTLS = "com.docker.network.endpoint.sysctls"
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.[a-z_]+\.IFNAME\.[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Attachment:
    """An endpoint with its network and that network's driver."""

    driver: NetworkDriver
    network: Network
    endpoint: Endpoint
    sysctls: tuple[tuple[str, str], ...] = ()
    link_local: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """Where a container's packets to the world go: through ``interface``, over ``gateway``."""

    version: int
    interface: str
    gateway: Address | None


def default_routes(
    attachments: Sequence[tuple[Attachment, int]],
) -> list[DefaultRoute]:
    """Choose the default route of each IP version.

    The endpoint with the highest priority wins, then the lowest network name; an internal
    network never does. Layer 3 networks have no gateway and route through the interface.
    """
    ranked = sorted(
        attachments, key=lambda pair: (-pair[1], pair[0].network.name, pair[0].network.id)
    )
    routes = []
    for version in (4, 6):
        for attachment, _ in ranked:
            endpoint, network = attachment.endpoint, attachment.network
            if endpoint.address(version) is None or network.internal:
                continue
            layer3 = network.driver == "ipvlan" and network.options.get("ipvlan_mode", "l2") != "l2"
            gateway = endpoint.gateway4 if version == 4 else endpoint.gateway6
            if layer3 or gateway:
                routes.append(
                    DefaultRoute(version, endpoint.interface, None if layer3 else gateway)
                )
                break
    return routes


def parse_sysctls(text: str, interface: str) -> tuple[tuple[str, str], ...]:
    """The ``endpoint.sysctls`` option as (path below /proc/sys/net, value) pairs."""
    found = []
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not equals or not _SYSCTL.fullmatch(key):
            raise InvalidParameter(f"unrecognised network interface sysctl '{item}'")
        path = "/".join(key.removeprefix("net.").split(".")).replace("IFNAME", interface)
        found.append((path, value))
    return tuple(found)


def link_local(texts: Sequence[str]) -> tuple[Interface, ...]:
    """Link-local addresses with the prefix lengths of RFC 3927 and RFC 4291."""
    addresses = (ip_address(text) for text in texts)
    return tuple(
        ip_interface(f"{address}/{16 if address.version == 4 else 64}") for address in addresses
    )


@contextlib.contextmanager
def namespace_of(pid: int) -> Iterator[int]:
    """A descriptor of a process's network namespace, for the time of a ``with`` block."""
    fd = open_namespace(pid)
    try:
        yield fd
    finally:
        os.close(fd)


def plug(
    kernel: Kernel,
    namespace_fd: int,
    attachments: Sequence[Attachment],
    routes: Sequence[DefaultRoute],
) -> None:
    """Make and configure the interfaces of all ``attachments``; undone as a whole on failure."""
    with contextlib.ExitStack() as undo:
        for attachment in attachments:
            driver, network, endpoint = attachment.driver, attachment.network, attachment.endpoint
            driver.plug(network, endpoint, namespace_fd, kernel)
            undo.callback(remove_inside, namespace_fd, endpoint.interface)
        configure(namespace_fd, attachments, routes)
        undo.pop_all()


def configure(
    namespace_fd: int, attachments: Sequence[Attachment], routes: Sequence[DefaultRoute]
) -> None:
    """Give interfaces their addresses, state and settings, and set the default routes.

    What is set already stays as it is.
    """
    with entered(namespace_fd):
        inner = netlink.RouteSocket()
        with contextlib.ExitStack() as undo:
            undo.callback(inner.close)
            for attachment in attachments:
                _write_sysctls(attachment)
            undo.pop_all()
    with inner:
        requests = [netlink.set_link(1, "lo", up=True)]
        for attachment in attachments:
            requests += _configure(inner, attachment)
        inner.run([*requests, *_route_requests(inner, routes)])


def remove_inside(namespace_fd: int, interface: str) -> None:
    """Delete an interface of a namespace; nothing happens when it is not there."""
    with (
        contextlib.suppress(KernelError),
        entered(namespace_fd),
        netlink.RouteSocket() as inner,
    ):
        inner.run([netlink.delete_link(interface)])


def _write_sysctls(attachment: Attachment) -> None:
    endpoint = attachment.endpoint
    if not endpoint.mac:
        return
    conf = f"ipv6/conf/{endpoint.interface}"
    if endpoint.ipv6 is None:
        write_sysctl(f"{conf}/disable_ipv6", "1", missing_ok=True)
    else:
        # Other containers of the network must not be able to reroute this one.
        write_sysctl(f"{conf}/accept_dad", "0", missing_ok=True)
        write_sysctl(f"{conf}/disable_ipv6", "0", missing_ok=True)
        write_sysctl(f"{conf}/accept_ra", "0", missing_ok=True)
    for path, value in attachment.sysctls:
        write_sysctl(path, value)


def _configure(inner: netlink.RouteSocket, attachment: Attachment) -> list[netlink.Request]:
    endpoint = attachment.endpoint
    if not endpoint.mac:
        return []
    name = endpoint.interface
    index = _index(inner, name)
    addresses = [address for address in (endpoint.ipv4, endpoint.ipv6) if address is not None]
    return [
        netlink.set_link(index, name, up=True),
        *(
            netlink.add_address(index, address, name)
            for address in (*addresses, *attachment.link_local)
        ),
    ]


def _index(inner: netlink.RouteSocket, name: str) -> int:
    link = inner.link(name)
    if link is None:
        raise KernelError("find interface in the container", name, 19)
    return link.index


def _route_requests(
    inner: netlink.RouteSocket, routes: Sequence[DefaultRoute]
) -> list[netlink.Request]:
    return [
        netlink.add_default_route(
            route.version, _index(inner, route.interface), route.gateway, route.interface
        )
        for route in routes
    ]


def unplug(
    namespace_fd: int,
    endpoint: Endpoint,
    routes: Sequence[DefaultRoute],
) -> None:
    """Take one interface out of a live container and set the default routes that remain."""
    with entered(namespace_fd):
        inner = netlink.RouteSocket()
    with inner:
        inner.run([netlink.delete_link(endpoint.interface)])
        inner.run(_route_requests(inner, routes))


def has_interface(namespace_fd: int, endpoint: Endpoint) -> bool:
    """Whether the container's end of an endpoint exists."""
    with entered(namespace_fd):
        inner = netlink.RouteSocket()
    with inner:
        return inner.link(endpoint.interface) is not None
