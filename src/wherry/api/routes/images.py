"""Images: list, inspect, pull, push, tag, remove, load, save."""

from __future__ import annotations

from aiohttp import web

from wherry.api import adapt
from wherry.api.call import Call
from wherry.api.progress import Emit, stream_progress
from wherry.api.replies import Stream, nothing, reply, reply_long
from wherry.api.router import Route
from wherry.errors import InvalidParameter


async def list_all(call: Call) -> web.StreamResponse:
    """``docker images``."""
    filters = call.filters
    if call.version < (1, 41) and (pattern := call.text("filter")):
        filters = filters.adding("reference", pattern)
    rows = await call.engine.images.list(
        all=call.flag("all"),
        filters=filters,
        digests=call.flag("digests"),
        shared_size=call.flag("shared-size"),
        manifests=call.flag("manifests"),
    )
    return await reply_long([adapt.image_row(row, call.version) for row in rows])


async def inspect(call: Call) -> web.StreamResponse:
    """All there is to know about an image."""
    view = await call.engine.images.inspect(
        call.name, platform=call.optional("platform"), manifests=call.flag("manifests")
    )
    return reply(adapt.image(view, call.version))


async def history(call: Call) -> web.StreamResponse:
    """The steps that made the image."""
    return reply(await call.engine.images.history(call.name, platform=call.optional("platform")))


async def create(call: Call) -> web.StreamResponse:
    """Pull an image (``fromImage``) or import a root file system (``fromSrc``)."""
    images = call.engine.images
    source, platform = call.text("fromSrc"), call.optional("platform")
    if name := call.text("fromImage"):
        auth, tag = call.header_json("X-Registry-Auth"), call.text("tag")

        async def pull(emit: Emit) -> None:
            await images.pull(name, tag, platform=platform, auth=auth, emit=emit)

        return await stream_progress(call, pull)
    if not source:
        raise InvalidParameter("missing fromImage or fromSrc: nothing to create an image from")

    async def import_(emit: Emit) -> None:
        await images.import_(
            source,
            call.body() if source == "-" else None,
            repo=call.text("repo"),
            tag=call.text("tag"),
            message=call.text("message"),
            changes=call.texts("changes"),
            platform=platform,
            emit=emit,
        )

    return await stream_progress(call, import_)


async def push(call: Call) -> web.StreamResponse:
    """Send an image to its registry."""
    auth = call.header_json("X-Registry-Auth")

    async def work(emit: Emit) -> None:
        await call.engine.images.push(
            call.name, call.text("tag"), platform=call.optional("platform"), auth=auth, emit=emit
        )

    return await stream_progress(call, work)


async def tag(call: Call) -> web.StreamResponse:
    """Give an image one more name."""
    await call.engine.images.tag(call.name, call.text("repo"), call.text("tag"))
    return nothing(201)


async def remove(call: Call) -> web.StreamResponse:
    """Remove a name, and the image when it was the last."""
    return reply(
        await call.engine.images.remove(
            call.name,
            force=call.flag("force"),
            noprune=call.flag("noprune"),
            platforms=call.texts("platforms"),
        )
    )


async def search(call: Call) -> web.StreamResponse:
    """Search the index for images."""
    return reply(
        await call.engine.images.search(
            call.text("term"),
            limit=call.number("limit") or 0,
            filters=call.filters,
            auth=call.header_json("X-Registry-Auth"),
        )
    )


async def prune(call: Call) -> web.StreamResponse:
    """Remove images that nobody uses."""
    return reply(await call.engine.images.prune(call.filters))


async def save_one(call: Call) -> web.StreamResponse:
    """One image as an archive."""
    return await _save(call, [call.name])


async def save_many(call: Call) -> web.StreamResponse:
    """Several images as one archive."""
    names = [name for name in call.texts("names") if name]
    if not names:
        raise InvalidParameter("no image names were given: names is empty")
    return await _save(call, names)


async def _save(call: Call, names: list[str]) -> web.StreamResponse:
    archive = await call.engine.images.save(names, platform=call.optional("platform"))
    return await Stream.send(call, "application/x-tar", archive)


async def load(call: Call) -> web.StreamResponse:
    """Take the images of an archive in; clients look for what went wrong in the stream."""

    async def work(emit: Emit) -> None:
        await call.engine.images.load(
            call.body(),
            quiet=call.flag("quiet", True),
            platform=call.optional("platform"),
            emit=emit,
        )

    return await stream_progress(call, work, fails_by_status=False)


ROUTES = (
    Route("GET", "/images/json", list_all),
    Route("GET", "/images/search", search, follows_client=True),
    Route("GET", "/images/get", save_many, follows_client=True),
    Route("POST", "/images/create", create, follows_client=True),
    Route("POST", "/images/load", load, follows_client=True),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/{name}/json", inspect),
    Route("GET", "/images/{name}/history", history),
    Route("GET", "/images/{name}/get", save_one, follows_client=True),
    Route("POST", "/images/{name}/push", push, follows_client=True),
    Route("POST", "/images/{name}/tag", tag),
    Route("DELETE", "/images/{name}", remove),
)
