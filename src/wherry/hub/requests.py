"""What handlers ask of a request: actor, client address, the hub's own URL."""

from __future__ import annotations

import ipaddress
from urllib.parse import parse_qsl

from aiohttp import web

from wherry.errors import InvalidParameter
from wherry.hub import texts
from wherry.hub.access import Actor
from wherry.hub.config import HubConfig

SERVICE = "wherry-hub"
"""The name that bearer tokens are made for; keys, not names, tell hubs apart."""

_FIELDS = 200

ACTOR = web.RequestKey("actor", Actor)
CONFIG = web.AppKey("config", HubConfig)


def actor_of(request: web.Request) -> Actor:
    """Who the request comes from (set by the middleware of its area)."""
    return request[ACTOR]


async def form_fields(request: web.Request) -> dict[str, str]:
    """The fields of a posted form. Raises InvalidParameter for what no form of a browser is.

    The charset that a client names is not believed: some of Python's codecs take quadratic time.
    """
    try:
        text = (await request.read()).decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except ValueError:
        raise InvalidParameter("the form is malformed") from None
    if pairs and request.content_type != "application/x-www-form-urlencoded":
        raise InvalidParameter("a form is application/x-www-form-urlencoded")
    texts.check_all(pairs)
    return dict(pairs)


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
