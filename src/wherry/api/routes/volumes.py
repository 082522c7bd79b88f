"""Volumes."""

from __future__ import annotations

from aiohttp import web

from wherry.api.call import Call
from wherry.api.replies import nothing, reply, reply_long
from wherry.api.router import Route
from wherry.errors import Unavailable


async def list_all(call: Call) -> web.StreamResponse:
    """``docker volume ls``."""
    return await reply_long(await call.engine.volumes.list(call.filters))


async def inspect(call: Call) -> web.StreamResponse:
    """One volume."""
    return reply(await call.engine.volumes.inspect(call.name))


async def create(call: Call) -> web.StreamResponse:
    """Make a volume."""
    return reply(await call.engine.volumes.create(await call.json(required=True)), 201)


async def update(call: Call) -> web.StreamResponse:
    """Update a cluster volume: there are none without a swarm."""
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to'
        " connect this node to swarm and try again."
    )


async def remove(call: Call) -> web.StreamResponse:
    """Remove a volume that nobody uses."""
    await call.engine.volumes.remove(call.name, force=call.flag("force"))
    return nothing()


async def prune(call: Call) -> web.StreamResponse:
    """Remove volumes that nobody uses: the anonymous ones, since 1.42 only these by default."""
    filters = call.filters
    if call.version < (1, 42) and "all" not in filters:
        filters = filters.adding("all", "true")
    return reply(await call.engine.volumes.prune(filters))


ROUTES = (
    Route("GET", "/volumes", list_all),
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes/{name}", inspect),
    Route("PUT", "/volumes/{name}", update),
    Route("DELETE", "/volumes/{name}", remove),
)
