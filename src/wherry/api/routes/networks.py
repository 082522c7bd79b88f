"""Networks."""

from __future__ import annotations

from aiohttp import web

from wherry.api.call import Call
from wherry.api.replies import nothing, reply, reply_long
from wherry.api.router import Route
from wherry.engine.config.codec import decode
from wherry.engine.config.network import NetworkConnect, NetworkDisconnect


async def list_all(call: Call) -> web.StreamResponse:
    """``docker network ls``."""
    return await reply_long(await call.engine.networks.list(call.filters))


async def inspect(call: Call) -> web.StreamResponse:
    """One network, with the containers on it."""
    return reply(
        await call.engine.networks.inspect(
            call.name, verbose=call.flag("verbose"), scope=call.optional("scope")
        )
    )


async def create(call: Call) -> web.StreamResponse:
    """Make a network."""
    return reply(await call.engine.networks.create(await call.json(required=True)), 201)


async def remove(call: Call) -> web.StreamResponse:
    """Remove a network that nobody uses."""
    await call.engine.networks.remove(call.name)
    return nothing()


async def connect(call: Call) -> web.StreamResponse:
    """Put a container on a network."""
    wanted = decode(NetworkConnect, await call.json(required=True))
    await call.engine.networks.connect(call.name, wanted.container, wanted.endpoint)
    return nothing(200)


async def disconnect(call: Call) -> web.StreamResponse:
    """Take a container off a network."""
    wanted = decode(NetworkDisconnect, await call.json(required=True))
    await call.engine.networks.disconnect(call.name, wanted.container, force=wanted.force)
    return nothing(200)


async def prune(call: Call) -> web.StreamResponse:
    """Remove the networks that nobody uses."""
    return reply(await call.engine.networks.prune(call.filters))


async def rules(call: Call) -> web.StreamResponse:
    """``wherry network rules``: Wherry's own, not part of Docker's API."""
    return reply(await call.engine.networks.rules())


ROUTES = (
    Route("GET", "/wherry/network-rules", rules),
    Route("GET", "/networks", list_all),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("POST", "/networks/{name}/connect", connect),
    Route("POST", "/networks/{name}/disconnect", disconnect),
    Route("GET", "/networks/{name}", inspect),
    Route("DELETE", "/networks/{name}", remove),
)
