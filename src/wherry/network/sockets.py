"""Sockets that the porter serves: listeners on the host, name servers inside a container."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable

from wherry.network import firewall, netlink
from wherry.network.model import PublishedPort
from wherry.network.netns import entered
from wherry.network.nft.client import Nftables

RESOLVER_ADDRESS = "127.0.0.11"
_BACKLOG = 4096
_IPPROTO_SCTP = 132


def key(port: PublishedPort) -> str:
    """The name of a published port's listener."""
    return f"{port.protocol}/{port.host_address}/{port.host_port}"


def listen(port: PublishedPort) -> socket.socket | None:
    """A socket that holds a published port's place on the host.

    None where the kernel does not know the protocol (SCTP may be missing). Raises OSError:
    EADDRINUSE when a program has the place, EADDRNOTAVAIL when the address is not the host's.
    """
    family = socket.AF_INET if port.host_address.version == 4 else socket.AF_INET6
    kind, protocol = {
        "tcp": (socket.SOCK_STREAM, 0),
        "udp": (socket.SOCK_DGRAM, 0),
        "sctp": (socket.SOCK_STREAM, _IPPROTO_SCTP),
    }[port.protocol]
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None
        raise
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(port.host_address), port.host_port))
        if kind == socket.SOCK_STREAM:
            listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def listen_all(ports: Iterable[PublishedPort]) -> dict[str, socket.socket]:
    """Listeners for all ``ports``, or none: raises OSError for the first that cannot be had."""
    with contextlib.ExitStack() as undo:
        found = {}
        for port in ports:
            listener = listen(port)
            if listener is not None:
                found[key(port)] = undo.enter_context(listener)
        undo.pop_all()
    return found


def resolver_sockets(namespace_fd: int, nft: Nftables) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP sockets for the name server inside a container, which port 53 leads to.

    Blocking: the rules take the kernel some milliseconds. Raises KernelError.
    """
    with contextlib.ExitStack() as undo:
        with entered(namespace_fd):
            udp = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with netlink.RouteSocket() as route:
                route.run([netlink.set_link(1, "lo", up=True)])
        udp.bind((RESOLVER_ADDRESS, 0))
        tcp.bind((RESOLVER_ADDRESS, 0))
        tcp.listen(64)
        nft.run(
            firewall.resolver_redirect(udp.getsockname()[1], tcp.getsockname()[1]),
            "lead the container's port 53 to its name server",
            namespace_fd,
        )
        undo.pop_all()
    return udp, tcp
