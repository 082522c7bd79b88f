"""Web pages must not drive the engine: checks of Host and Origin on TCP without TLS.

A page may post across sites (its Origin then differs from Host), or its name may be bound anew to
this machine's address, DNS rebinding: Host is then a foreign name. Browsers say nothing else with
which the latter could be told from a client of one's own, so every request must be addressed to
what no foreign DNS server answers for.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

from wherry.errors import Forbidden, InvalidParameter

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:[0-9]{1,5})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_OWN_SITES = (None, "same-origin", "none")  # of Sec-Fetch-Site; "none": the user typed an address


class HostCheck:
    """The names that this engine may be addressed by, besides addresses and ``localhost``."""

    def __init__(self, names: Collection[str] = ()) -> None:
        """``names`` are allowed in addition to the host's own; raises InvalidParameter."""
        for name in names:
            if not _NAME.fullmatch(name):
                raise InvalidParameter(f"invalid allowed-host: {name} is no host name")
        self._names = frozenset(name.lower() for name in (*names, os.uname().nodename))

    def check(self, request: web.BaseRequest) -> None:
        """Raises Forbidden for a request that a foreign web page may have made."""
        transport = request.transport
        peer = transport.get_extra_info("socket") if transport else None
        if peer is not None and peer.family == socket.AF_UNIX:  # also what came over TLS
            return
        headers = request.headers
        host, origin = headers.get("Host", ""), headers.get("Origin")
        if not self.allows(host):
            raise Forbidden(
                f"request refused: its Host {host!r} is no address and no name of this engine;"
                " the daemon's option --allowed-host adds names"
            )
        if headers.get("Sec-Fetch-Site") not in _OWN_SITES or (
            origin is not None and _netloc(origin) != host.lower()
        ):
            raise Forbidden("request of a foreign web page refused: its Origin is not this engine")

    def allows(self, host: str) -> bool:
        """Whether a Host header names this engine."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().removesuffix(".")
        return (
            name == "localhost"
            or name.endswith(".localhost")  # RFC 6761, 6.3
            or name in self._names
            or _is_address(name.strip("[]"))
        )


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
