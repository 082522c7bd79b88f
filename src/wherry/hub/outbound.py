"""Requests that the hub makes to URLs which users chose: never into the hub's own network.

What counts is the address that a socket is about to be connected to. It is judged where the
socket is made, after every kind of normalising (IDNA, full-width digits), resolving and
redirecting, so neither spelling nor a name that changes its mind (DNS rebinding) gains anything.
``check_url`` only tells a person early, when a URL is typed in.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from wherry.errors import InvalidParameter

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet.

    IPv6 addresses that carry an IPv4 one (mapped, NAT64, 6to4) are judged by that. Of all
    others only global unicast (RFC 4291, section 2.4) is public: not ``::127.0.0.1``, not the
    translated ``::ffff:0:127.0.0.1``, not a network's own NAT64 prefix.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or ip.sixtofour
        if carried is None and ip in _NAT64:
            carried = ipaddress.IPv4Address(ip.packed[-4:])
        if carried is None:
            return ip in _GLOBAL_UNICAST and ip.is_global
        ip = carried
    return ip.is_global and not ip.is_multicast


def check_url(url: str, *, private: bool) -> None:
    """Raises InvalidParameter unless ``url`` is http(s) to a host that may be called."""
    try:
        parsed = yarl.URL(url)  # what the connection will be made from
        host, _ = parsed.raw_host, parsed.port
    except ValueError:
        raise InvalidParameter("the URL is malformed") from None
    if parsed.scheme not in ("http", "https") or not host or parsed.user or parsed.password:
        raise InvalidParameter("the URL must be http:// or https:// with a host and no password")
    if private:
        return
    name = host.rstrip(".").lower()
    literal = _is_literal(name)
    if (literal and not is_public(name)) or f".{name}".endswith(_PRIVATE_SUFFIXES):
        raise InvalidParameter("the URL points into a private network")


def _is_literal(host: str) -> bool:
    # inet_aton takes every spelling that the C library does: 127.1, 0x7f000001, 2130706433.
    try:
        socket.inet_aton(host)
        return True
    except (OSError, ValueError):
        return ":" in host


def is_public_url(url: str) -> bool:
    """Whether ``check_url`` lets the URL through as public."""
    try:
        check_url(url, private=False)
    except InvalidParameter:
        return False
    return True


class PublicResolver(AbstractResolver):
    """Resolves names, but leaves out addresses that are not public."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses of ``host``; OSError when there are none."""
        found = await self._resolver.resolve(host, port, family)
        public = [entry for entry in found if is_public(entry["host"])]
        if not public:
            raise OSError(errno.EACCES, f"{host} has no public address")
        return public

    async def close(self) -> None:
        """Nothing is kept open."""
        await self._resolver.close()


def public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for one entry of getaddrinfo(3); OSError unless its address is public.

    Hosts that are addresses never meet a resolver: this is the one place that all connections
    pass.
    """
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise OSError(errno.EACCES, f"{address[0]} is not a public address")
    return socket.socket(family, kind, protocol)


def session(*, private: bool, total: float | None = 20) -> aiohttp.ClientSession:
    """A client session that can reach only public hosts (or any, when ``private``).

    ``total`` limits a whole request, in seconds; None leaves only the limits on connecting and
    on silence.
    """
    connector = aiohttp.TCPConnector(
        resolver=None if private else PublicResolver(),
        socket_factory=None if private else public_socket,
        use_dns_cache=False,
        force_close=True,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=total, connect=5, sock_read=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,  # a proxy would be the one that is connected to
    )
