"""Wherry's own questions about images and the store; not part of Docker's API."""

from __future__ import annotations

from aiohttp import web

from wherry.api.call import Call
from wherry.api.progress import Emit, stream_progress
from wherry.api.replies import reply
from wherry.api.router import Route


async def image_diff(call: Call) -> web.StreamResponse:
    """``wherry image diff``: query ``from``, ``to`` and ``content``."""
    changes = await call.engine.audit.diff(
        call.text("from"), call.text("to"), content=call.flag("content")
    )
    return reply(changes)


async def image_layers(call: Call) -> web.StreamResponse:
    """``wherry history --files``: query ``name``."""
    return reply(await call.engine.audit.layers(call.text("name")))


async def tag_history(call: Call) -> web.StreamResponse:
    """``wherry image rollback --list``: query ``name``."""
    return reply(await call.engine.audit.tag_history(call.text("name")))


async def rollback(call: Call) -> web.StreamResponse:
    """``wherry image rollback``: query ``name`` and ``to``."""
    return reply(await call.engine.audit.rollback(call.text("name"), call.optional("to")))


async def check(call: Call) -> web.StreamResponse:
    """``wherry system check``; with ``progress`` a stream that ends with the report."""
    if not call.flag("progress"):
        return reply(await call.engine.audit.check())

    async def work(emit: Emit) -> None:
        emit({"aux": await call.engine.audit.check(emit)})

    return await stream_progress(call, work)


ROUTES = (
    Route("GET", "/wherry/image-diff", image_diff),
    Route("GET", "/wherry/image-layers", image_layers),
    Route("GET", "/wherry/tag-history", tag_history),
    Route("POST", "/wherry/rollback", rollback),
    Route("GET", "/wherry/check", check, follows_client=True),
)
