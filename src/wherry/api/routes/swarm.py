"""What Wherry does not offer: swarm mode and managed plugins answer as an engine without them."""

from __future__ import annotations

from aiohttp import web

from wherry.api.call import Call
from wherry.api.replies import reply
from wherry.api.router import Route
from wherry.errors import NotFound, NotImplementedHere, Unavailable

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to'
    " connect this node to swarm and try again."
)
_METHODS = ("GET", "POST", "PUT", "DELETE")


async def no_manager(call: Call) -> web.StreamResponse:
    """Every operation on a cluster that is not there."""
    raise Unavailable(_NO_MANAGER)


async def no_swarm(call: Call) -> web.StreamResponse:
    """Leave, unlock and the like: there is no swarm."""
    raise Unavailable("This node is not part of a swarm")


async def not_offered(call: Call) -> web.StreamResponse:
    """Forming a cluster."""
    raise NotImplementedHere("Wherry runs containers on one machine and has no swarm mode")


async def no_plugins(call: Call) -> web.StreamResponse:
    """The list of plugins."""
    return reply([])


async def no_plugin(call: Call) -> web.StreamResponse:
    """One plugin."""
    raise NotFound(f"plugin {call.name!r} not found".replace("'", '"'))


async def plugins_not_offered(call: Call) -> web.StreamResponse:
    """Installing plugins."""
    raise NotImplementedHere("Wherry has no managed plugins; drivers are Python entry points")


ROUTES = (
    *(
        Route(method, path, no_manager)
        for kind in ("services", "tasks", "nodes", "secrets", "configs")
        for method in _METHODS
        for path in (f"/{kind}", f"/{kind}/{{name}}")
    ),
    Route("GET", "/swarm", no_manager),
    Route("GET", "/swarm/unlockkey", no_manager),
    Route("POST", "/swarm/update", no_manager),
    Route("POST", "/swarm/leave", no_swarm),
    Route("POST", "/swarm/unlock", no_swarm),
    Route("POST", "/swarm/init", not_offered),
    Route("POST", "/swarm/join", not_offered),
    Route("GET", "/plugins", no_plugins),
    Route("GET", "/plugins/privileges", plugins_not_offered),
    Route("POST", "/plugins/pull", plugins_not_offered),
    Route("POST", "/plugins/create", plugins_not_offered),
    Route("GET", "/plugins/{name}/json", no_plugin),
    Route("POST", "/plugins/{name}/enable", no_plugin),
    Route("POST", "/plugins/{name}/disable", no_plugin),
    Route("POST", "/plugins/{name}/push", no_plugin),
    Route("POST", "/plugins/{name}/set", no_plugin),
    Route("POST", "/plugins/{name}/upgrade", no_plugin),
    Route("DELETE", "/plugins/{name}", no_plugin),
)
