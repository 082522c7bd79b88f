"""Requests that the hub makes to URLs which users chose: never into the hub's own network.

The address is checked when the connection is made, by the resolver that the connection uses,
so a name that changes its mind between check and use (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from wherry.errors import InvalidParameter


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    if mapped is not None:
        ip = mapped
    return ip.is_global and not ip.is_multicast


def check_url(url: str, *, private: bool) -> None:
    """Raises InvalidParameter unless ``url`` is http(s) to a host that may be called."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidParameter("the URL is malformed") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise InvalidParameter("the URL must be http:// or https:// with a host and no password")
    if private:
        return
    if _is_literal(host) and not is_public(host):
        raise InvalidParameter("the URL points into a private network")
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        raise InvalidParameter("the URL points into a private network")


def _is_literal(host: str) -> bool:
    # inet_aton takes every spelling that the C library does: 127.1, 0x7f000001, 2130706433.
    try:
        socket.inet_aton(host)
        return True
    except OSError:
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


def session(*, private: bool, total: float | None = 20) -> aiohttp.ClientSession:
    """A client session that can reach only public hosts (or any, when ``private``).

    ``total`` limits a whole request, in seconds; None leaves only the limits on connecting and
    on silence.
    """
    connector = aiohttp.TCPConnector(
        resolver=None if private else PublicResolver(), use_dns_cache=False, force_close=True
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=total, connect=5, sock_read=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
