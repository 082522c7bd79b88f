"""Web pages must not drive the engine: checks of Host and Origin on TCP without TLS.

A page may post across sites (its Origin then differs from Host), or its name may be re-bound to
this machine's address (Host is then a foreign domain). Clients that are no browsers send neither
Origin nor Sec-Fetch headers and are not concerned.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import urlsplit

from aiohttp import web

from wherry.errors import Forbidden


def check(request: web.BaseRequest) -> None:
    """Raises Forbidden for a request that a foreign web page has made."""
    headers = request.headers
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if origin is None and site is None:
        return
    transport = request.transport
    peer = transport.get_extra_info("socket") if transport else None
    if peer is not None and peer.family == socket.AF_UNIX:
        return
    host = headers.get("Host", "")
    if site == "cross-site" or (origin is not None and urlsplit(origin).netloc != host):
        raise Forbidden("request of a foreign web page refused: its Origin is not this engine")
    if not is_local_name(urlsplit(f"//{host}").hostname or ""):
        raise Forbidden(f"request of a web page refused: Host {host} is not this machine")


def is_local_name(host: str) -> bool:
    """Whether ``host`` cannot be a name that somebody else's DNS server answers for."""
    if "." not in host or host == os.uname().nodename.lower():
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
