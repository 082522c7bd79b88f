"""Files in and out of containers: archive, export, commit."""

from __future__ import annotations

import base64

from aiohttp import web

from wherry.api.call import Call
from wherry.api.replies import Stream, encode, nothing, reply
from wherry.api.router import Route
from wherry.errors import InvalidParameter

_STAT_HEADER = "X-Docker-Container-Path-Stat"


def _path(call: Call) -> str:
    path = call.text("path")
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    return path


async def stat(call: Call) -> web.StreamResponse:
    """What a path in a container is."""
    found = await call.engine.containers.archive_stat(call.name, _path(call))
    return web.Response(
        headers={
            _STAT_HEADER: base64.b64encode(encode(found)).decode(),
            "Content-Type": "application/json",
        }
    )


async def get(call: Call) -> web.StreamResponse:
    """A path in a container as an archive."""
    async with call.engine.containers.archive_get(call.name, _path(call)) as (found, archive):
        headers = {_STAT_HEADER: base64.b64encode(encode(found)).decode()}
        return await Stream.send(call, "application/x-tar", archive, headers)


async def put(call: Call) -> web.StreamResponse:
    """Extract an archive into a directory of a container."""
    await call.engine.containers.archive_put(
        call.name,
        _path(call),
        call.body(),
        no_overwrite_dir_non_dir=call.flag("noOverwriteDirNonDir"),
        copy_uid_gid=call.flag("copyUIDGID"),
    )
    return nothing(200)


async def export(call: Call) -> web.StreamResponse:
    """The container's whole root file system as an archive."""
    async with call.engine.containers.export(call.name) as archive:
        return await Stream.send(call, "application/octet-stream", archive)


async def commit(call: Call) -> web.StreamResponse:
    """Make an image of a container."""
    config = await call.json() if call.has_body else {}
    image_id = await call.engine.containers.commit(
        call.text("container"),
        repo=call.text("repo"),
        tag=call.text("tag"),
        comment=call.text("comment"),
        author=call.text("author"),
        pause=call.flag("pause", True),
        changes=call.texts("changes"),
        config=config,
    )
    return reply({"Id": image_id}, 201)


ROUTES = (
    Route("HEAD", "/containers/{name}/archive", stat),
    Route("GET", "/containers/{name}/archive", get, follows_client=True),
    Route("PUT", "/containers/{name}/archive", put, follows_client=True),
    Route("GET", "/containers/{name}/export", export, follows_client=True),
    Route("POST", "/commit", commit),
)
