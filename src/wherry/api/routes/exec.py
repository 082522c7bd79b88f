"""Exec: further processes in a running container."""

from __future__ import annotations

from aiohttp import web

from wherry.api.call import Call
from wherry.api.hijack import MULTIPLEXED, RAW, Hijack
from wherry.api.replies import nothing, reply
from wherry.api.router import Route
from wherry.api.routes.containers import size_of
from wherry.engine.config.codec import decode
from wherry.engine.config.exec import ExecStart
from wherry.errors import WherryError


async def create(call: Call) -> web.StreamResponse:
    """Prepare a process."""
    body = await call.json(required=True)
    return reply({"Id": await call.engine.execs.create(call.name, body)}, 201)


async def start(call: Call) -> web.StreamResponse:
    """Start the process, attached to the client's connection or detached."""
    wanted = decode(ExecStart, await call.json())
    exec_id, execs = call.name, call.engine.execs
    console_size = wanted.console_size
    if wanted.detach:
        await execs.start(exec_id, detach=True, tty=wanted.tty, console_size=console_size)
        return nothing(200)
    with Hijack(call) as hijack:
        tty = await execs.attachable(exec_id, wanted.tty)
        framed = not tty
        sock, initial = await hijack.take(
            MULTIPLEXED if framed and call.version >= (1, 42) else RAW
        )
        try:
            await execs.start(
                exec_id,
                detach=False,
                tty=tty,
                sock=sock,
                initial=initial,
                console_size=console_size,
            )
        except WherryError as error:
            await hijack.fail(str(error), framed)
    return hijack.answer()


async def inspect(call: Call) -> web.StreamResponse:
    """What is known of the process."""
    return reply(await call.engine.execs.inspect(call.name))


async def resize(call: Call) -> web.StreamResponse:
    """Tell the process's terminal its size."""
    height, width = size_of(call)
    await call.engine.execs.resize(call.name, height, width)
    return nothing(200)


ROUTES = (
    Route("POST", "/containers/{name}/exec", create),
    Route("POST", "/exec/{name}/start", start),
    Route("POST", "/exec/{name}/resize", resize),
    Route("GET", "/exec/{name}/json", inspect),
)
