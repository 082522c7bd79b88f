"""_ping, version, info, events, auth, df."""

from __future__ import annotations

from aiohttp import web

from wherry.api import adapt
from wherry.api.call import Call
from wherry.api.replies import Stream, reply, reply_long
from wherry.api.router import Route
from wherry.engine.events import FILTERS
from wherry.errors import InvalidParameter
from wherry.timestamps import parse_unix

_PING_HEADERS = {
    "Builder-Version": "2",
    "Swarm": "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Content-Type": "text/plain; charset=utf-8",
}


async def ping(call: Call) -> web.StreamResponse:
    """Whether the daemon answers; the headers tell what it is."""
    headers = _PING_HEADERS
    if not call.engine.config.features.get("buildkit", True):
        headers = {**headers, "Builder-Version": "1"}
    if call.request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": "0"})
    return web.Response(body=b"OK", headers=headers)


async def version(call: Call) -> web.StreamResponse:
    """Versions of the engine and its parts."""
    return reply(await call.engine.system.version())


async def info(call: Call) -> web.StreamResponse:
    """Everything about engine and host."""
    return reply(adapt.info(await call.engine.system.info(), call.version))


async def events(call: Call) -> web.StreamResponse:
    """Events as they happen, as a stream of JSON objects."""
    since, until = call.optional("since"), call.optional("until")
    start = parse_unix(since) if since else None
    end = parse_unix(until) if until else None
    if start is not None and end is not None and start > end:
        raise InvalidParameter(f"`since` time ({since}) cannot be after `until` time ({until})")
    wanted = call.filters.allow(FILTERS)
    with call.engine.events.subscribe(start, end, wanted) as subscription:
        stream = await Stream.open(call, "application/json")
        async for event in subscription:
            await stream.write_json(event.view())
        return await stream.close()


async def auth(call: Call) -> web.StreamResponse:
    """Check credentials at a registry."""
    body = await call.json(required=True)
    return reply(await call.engine.system.auth(body))


async def disk_usage(call: Call) -> web.StreamResponse:
    """What images, containers, volumes and build cache take."""
    kinds = frozenset(call.texts("type"))
    known = {"container", "image", "volume", "build-cache"}
    for kind in kinds - known:
        raise InvalidParameter(f"unknown object type: {kind}")
    view = await call.engine.system.df(kinds or known)
    return await reply_long(adapt.disk_usage(view, call.version))


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/events", events, follows_client=True),
    Route("POST", "/auth", auth),
    Route("GET", "/system/df", disk_usage),
)
