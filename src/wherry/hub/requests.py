"""What handlers ask of a request: actor, client address, the hub's own URL."""

from __future__ import annotations

import ipaddress
import re

from aiohttp import web

from wherry.hub.accounts.access import Actor
from wherry.hub.config import HubConfig

SERVICE = "wherry-hub"
"""The name that bearer tokens are made for; keys, not names, tell hubs apart."""

_UNREADABLE = re.compile("[\0\ud800-\udfff]")

ACTOR = web.RequestKey("actor", Actor)
CONFIG = web.AppKey("config", HubConfig)


def actor_of(request: web.Request) -> Actor:
    """Who the request comes from (set by the middleware of its area)."""
    return request[ACTOR]


def client_address(request: web.Request) -> str:
    """The client's address; forwarded ones count only from trusted proxies."""
    peer = request.remote or ""
    forwarded = request.headers.get("X-Forwarded-For", "")
    if not forwarded or not _from_proxy(request):
        return peer
    trusted = request.app[CONFIG].trusted_proxies
    for hop in reversed([part.strip() for part in forwarded.split(",")]):
        if hop not in trusted:
            try:
                return str(ipaddress.ip_address(hop))
            except ValueError:
                return peer
    return peer


def check_text(request: web.Request) -> None:
    """Refuses a request whose URL or headers hold what no database and no page can hold.

    Bytes that are no UTF-8 arrive as halves of surrogate pairs; PostgreSQL takes no NUL.
    """
    values = (request.path, request.query_string, *request.headers.values())
    if any(_UNREADABLE.search(value) for value in values):
        raise web.HTTPBadRequest(text="the request is not valid UTF-8 text\n")


def base_url(request: web.Request) -> str:
    """Scheme and host that the client used, or the configured external URL."""
    config = request.app[CONFIG]
    if config.external_url:
        return config.external_url.rstrip("/")
    return f"{scheme(request)}://{_host(request)}"


def scheme(request: web.Request) -> str:
    """``https`` when the client's connection is encrypted."""
    if _from_proxy(request):
        forwarded = request.headers.get("X-Forwarded-Proto", "").lower()
        if forwarded in ("http", "https"):
            return forwarded
    return request.scheme


def _host(request: web.Request) -> str:
    host = request.headers.get("X-Forwarded-Host", "") if _from_proxy(request) else ""
    host = host or request.host
    # It goes into a quoted header value and into links.
    return "".join(c for c in host if c.isalnum() or c in ".-:[]_")[:255]


def _from_proxy(request: web.Request) -> bool:
    return (request.remote or "") in request.app[CONFIG].trusted_proxies
