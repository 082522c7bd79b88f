"""What a registry says about an image, without pulling it."""

from __future__ import annotations

from aiohttp import web

from wherry.api.call import Call
from wherry.api.replies import reply
from wherry.api.router import Route


async def inspect(call: Call) -> web.StreamResponse:
    """Descriptor and platforms of an image in its registry."""
    auth = call.header_json("X-Registry-Auth")
    return reply(await call.engine.images.distribution(call.name, auth=auth))


ROUTES = (Route("GET", "/distribution/{name}/json", inspect, follows_client=True),)
