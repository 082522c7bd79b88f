"""What flows out of containers for a while: attach, logs, stats."""

from __future__ import annotations

import contextlib

from aiohttp import web

from wherry.api.call import Call
from wherry.api.hijack import MULTIPLEXED, RAW, Hijack
from wherry.api.replies import Stream, reply
from wherry.api.router import Route
from wherry.api.websocket import attach_websocket
from wherry.engine import logs
from wherry.engine.attach import AttachOptions
from wherry.errors import InvalidParameter, WherryError
from wherry.timestamps import parse_unix


def attach_options(call: Call) -> AttachOptions:
    """The query of attach, as options."""
    return AttachOptions(
        stream=call.flag("stream"),
        logs=call.flag("logs"),
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        detach_keys=call.optional("detachKeys"),
    )


async def attach(call: Call) -> web.StreamResponse:
    """Connect the client to the container's streams."""
    options = attach_options(call)
    with Hijack(call) as hijack:
        tty = await call.engine.containers.attachable(call.name, options.detach_keys)
        framed = not tty
        # Before 1.42 both kinds of stream had the name of the raw one.
        sock, initial = await hijack.take(
            MULTIPLEXED if framed and call.version >= (1, 42) else RAW
        )
        try:
            await call.engine.containers.attach(call.name, options, sock, initial, framed)
        except WherryError as error:
            await hijack.fail(str(error), framed)
    return hijack.answer()


async def attach_ws(call: Call) -> web.StreamResponse:
    """Connect a WebSocket to the container's streams."""
    return await attach_websocket(call, attach_options(call))


async def read_logs(call: Call) -> web.StreamResponse:
    """What the container has written, and with ``follow`` what it goes on to write."""
    since, until = call.optional("since"), call.optional("until")
    options = logs.LogOptions(
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        follow=call.flag("follow"),
        since=parse_unix(since) if since and since != "0" else None,
        until=parse_unix(until) if until and until != "0" else None,
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
        tail=logs.parse_tail(call.optional("tail")),
    )
    tty, batches = await call.engine.containers.logs(call.name, options)
    framed = not tty
    kind = MULTIPLEXED if framed and call.version >= (1, 42) else RAW
    async with contextlib.aclosing(batches):
        stream = await Stream.open(call, kind)
        try:
            async for batch in batches:
                pieces = [(record.stream, logs.render(record, options)) for record in batch]
                if framed:
                    await stream.write(b"".join(logs.frame(name, piece) for name, piece in pieces))
                else:
                    await stream.write(b"".join(piece for _, piece in pieces))
        except WherryError as error:  # too late for a status code
            text = f"Error grabbing logs: {error}\n".encode()
            await stream.write(logs.frame("stderr", text) if framed else text)
        return await stream.close()


async def stats(call: Call) -> web.StreamResponse:
    """Counters: one sample, two a second apart, or one a second for as long as it is wanted."""
    one_shot = call.flag("one-shot")
    if not call.flag("stream", True):
        samples = call.engine.containers.stats(call.name, one_shot=one_shot)
        async with contextlib.aclosing(samples):
            async for view in samples:
                return reply(view)
        raise WherryError(f"read stats of {call.name}: there was no sample")
    if one_shot:
        raise InvalidParameter("cannot have stream=true and one-shot=true")
    stream: Stream | None = None
    async with contextlib.aclosing(call.engine.containers.stats(call.name, stream=True)) as samples:
        async for view in samples:
            stream = stream or await Stream.open(call, "application/json")
            await stream.write_json(view)
    stream = stream or await Stream.open(call, "application/json")
    return await stream.close()


ROUTES = (
    Route("POST", "/containers/{name}/attach", attach),
    Route("GET", "/containers/{name}/attach/ws", attach_ws, follows_client=True),
    Route("GET", "/containers/{name}/logs", read_logs, follows_client=True),
    Route("GET", "/containers/{name}/stats", stats, follows_client=True),
)
