"""Containers: their life, from create to remove, and what is known of them."""

from __future__ import annotations

from aiohttp import web

from wherry.api import adapt
from wherry.api.call import Call
from wherry.api.replies import Stream, encode, nothing, reply, reply_long
from wherry.api.router import Route
from wherry.errors import Conflict, InvalidParameter, NotFound, WherryError, prefixed
from wherry.numbers import whole_number


async def list_all(call: Call) -> web.StreamResponse:
    """``docker ps``."""
    rows = await call.engine.containers.list(
        all=call.flag("all"),
        limit=call.number("limit") or 0,
        size=call.flag("size"),
        filters=call.filters,
    )
    return await reply_long([adapt.container_row(row, call.version) for row in rows])


async def create(call: Call) -> web.StreamResponse:
    """Make a container."""
    body = await call.json(required=True)
    created = await call.engine.containers.create(
        adapt.create_request(body, call.version), call.optional("name"), call.optional("platform")
    )
    return reply(created, 201)


async def inspect(call: Call) -> web.StreamResponse:
    """All there is to know about a container."""
    view = await call.engine.containers.inspect(call.name, size=call.flag("size"))
    return reply(adapt.container(view, call.version))


async def start(call: Call) -> web.StreamResponse:
    """Start a container."""
    body = await call.json() if call.has_body else {}
    if body and call.version >= (1, 24):
        raise InvalidParameter(
            "starting container with non-empty request body was deprecated since API v1.22"
            " and removed in v1.24"
        )
    await call.engine.containers.start(call.name, body)
    return nothing()


async def stop(call: Call) -> web.StreamResponse:
    """Stop a container: its stop signal, then SIGKILL."""
    await call.engine.containers.stop(
        call.name, timeout=call.number("t"), signal=call.optional("signal")
    )
    return nothing()


async def restart(call: Call) -> web.StreamResponse:
    """Stop and start."""
    await call.engine.containers.restart(
        call.name, timeout=call.number("t"), signal=call.optional("signal")
    )
    return nothing()


async def kill(call: Call) -> web.StreamResponse:
    """Send a signal."""
    try:
        await call.engine.containers.kill(call.name, call.optional("signal"))
    except (NotFound, Conflict) as error:
        raise prefixed(f"cannot kill container: {call.name}", error) from error
    return nothing()


async def pause(call: Call) -> web.StreamResponse:
    """Freeze all processes."""
    await call.engine.containers.pause(call.name)
    return nothing()


async def unpause(call: Call) -> web.StreamResponse:
    """Thaw all processes."""
    await call.engine.containers.unpause(call.name)
    return nothing()


async def rename(call: Call) -> web.StreamResponse:
    """Give a new name."""
    await call.engine.containers.rename(call.name, call.text("name"))
    return nothing()


async def remove(call: Call) -> web.StreamResponse:
    """Remove a container, with its anonymous volumes when asked."""
    await call.engine.containers.remove(
        call.name, force=call.flag("force"), volumes=call.flag("v"), link=call.flag("link")
    )
    return nothing()


async def update(call: Call) -> web.StreamResponse:
    """Change limits and the restart policy."""
    return reply(await call.engine.containers.update(call.name, await call.json(required=True)))


async def resize(call: Call) -> web.StreamResponse:
    """Tell the container's terminal its size."""
    height, width = size_of(call)
    await call.engine.containers.resize(call.name, height, width)
    return nothing(200)


def size_of(call: Call) -> tuple[int, int]:
    """Rows and columns of a resize request; raises InvalidParameter."""
    sizes = []
    for key, side in (("h", "height"), ("w", "width")):
        text = call.text(key)
        number = whole_number(text)
        if number is None:
            raise InvalidParameter(f'invalid resize {side} "{text}": invalid syntax')
        if number >= 2**32:
            raise InvalidParameter(f'invalid resize {side} "{text}": value out of range')
        sizes.append(min(number, 65535))
    return sizes[0], sizes[1]


async def top(call: Call) -> web.StreamResponse:
    """The container's processes."""
    return reply(await call.engine.containers.top(call.name, call.optional("ps_args")))


async def changes(call: Call) -> web.StreamResponse:
    """What differs from the image."""
    return reply(await call.engine.containers.changes(call.name))


async def wait(call: Call) -> web.StreamResponse:
    """Block until a condition holds; the head is sent as soon as the wait is registered."""
    early = call.version >= (1, 30)
    condition = (call.optional("condition") if early else None) or "not-running"
    if condition not in ("not-running", "next-exit", "removed"):
        raise InvalidParameter(f'invalid condition: "{condition}"')
    waiting = await call.engine.containers.wait(call.name, condition)
    stream = await Stream.open(call, "application/json") if early else None
    try:
        result = await waiting
    except WherryError as error:
        if stream is None:
            raise
        result = {"StatusCode": -1, "Error": {"Message": str(error)}}
    if stream is None:
        return reply({"StatusCode": result["StatusCode"]})
    await stream.write(encode(result) + b"\n")
    return await stream.close()


async def prune(call: Call) -> web.StreamResponse:
    """Remove all stopped containers that pass the filters."""
    return reply(await call.engine.containers.prune(call.filters))


ROUTES = (
    Route("GET", "/containers/json", list_all),
    Route("GET", "/containers/ps", list_all),
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{name}/json", inspect),
    Route("GET", "/containers/{name}/top", top),
    Route("GET", "/containers/{name}/changes", changes),
    Route("POST", "/containers/{name}/start", start),
    Route("POST", "/containers/{name}/stop", stop),
    Route("POST", "/containers/{name}/restart", restart),
    Route("POST", "/containers/{name}/kill", kill),
    Route("POST", "/containers/{name}/pause", pause),
    Route("POST", "/containers/{name}/unpause", unpause),
    Route("POST", "/containers/{name}/rename", rename),
    Route("POST", "/containers/{name}/update", update),
    Route("POST", "/containers/{name}/resize", resize),
    Route("POST", "/containers/{name}/wait", wait, follows_client=True),
    Route("DELETE", "/containers/{name}", remove),
)
