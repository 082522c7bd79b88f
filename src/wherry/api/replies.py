"""Answers: JSON objects, no content, and streams of bytes or of JSON objects."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from aiohttp import web

from wherry import __version__
from wherry.api.call import Call
from wherry.engine.info import API_VERSION
from wherry.engine.slices import slices

SERVER = f"Docker/{__version__} (linux)"


def common_headers(*, experimental: bool) -> dict[str, str]:
    """The headers of every answer."""
    return {
        "Api-Version": API_VERSION,
        "Docker-Experimental": "true" if experimental else "false",
        "Ostype": "linux",
        "Server": SERVER,
    }


def encode(data: Any) -> bytes:
    """JSON as one line."""
    return to_text(data).encode("utf-8", "surrogateescape")


def to_text(data: Any) -> str:
    """The same before it is encoded."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def reply(data: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=encode(data) + b"\n", status=status, headers={"Content-Type": "application/json"}
    )


async def reply_long(data: Any) -> web.Response:
    """The same for an answer with long lists: others have their turns while it is put together.

    The lists are the answer itself or members of it.
    """
    body = f"{await _in_slices(data)}\n".encode("utf-8", "surrogateescape")
    return web.Response(body=body, headers={"Content-Type": "application/json"})


async def _in_slices(data: Any) -> str:
    if isinstance(data, list):
        pieces = [",".join(map(to_text, some)) async for some in slices(data)]
        return f"[{','.join(pieces)}]"
    if not isinstance(data, dict):
        return to_text(data)
    members = []
    for key, value in data.items():
        text = await _in_slices(value) if isinstance(value, list) else to_text(value)
        members.append(f"{to_text(key)}:{text}")
    return f"{{{','.join(members)}}}"


def message(text: str, status: int) -> web.Response:
    """An error in Docker's form."""
    if status == 304:
        return web.Response(status=304)
    return reply({"message": text}, status)


def nothing(status: int = 204) -> web.Response:
    """An answer without a body."""
    return web.Response(status=status)


class Stream:
    """A chunked answer whose headers are out as soon as it is open."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response

    @classmethod
    async def open(
        cls,
        call: Call,
        content_type: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Stream:
        """Send the head now."""
        response = web.StreamResponse(
            status=status,
            headers={**(headers or {}), **call.common_headers, "Content-Type": content_type},
        )
        if call.request.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(call.request)
        return cls(response)

    async def write(self, data: bytes) -> None:
        """Send a piece; raises ConnectionResetError when the client is gone."""
        if data:
            await self._response.write(data)

    async def write_json(self, data: Any, end: bytes = b"\n") -> None:
        """Send one JSON object."""
        await self._response.write(encode(data) + end)

    @classmethod
    async def send(
        cls,
        call: Call,
        content_type: str,
        chunks: AsyncGenerator[bytes, None],
        headers: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        """A whole answer from ``chunks``, which are closed whether or not the client stays."""
        async with contextlib.aclosing(chunks):
            stream = await cls.open(call, content_type, headers=headers)
            async for chunk in chunks:
                await stream.write(chunk)
            return await stream.close()

    async def close(self) -> web.StreamResponse:
        """Send the end; the result is what a handler returns."""
        await self._response.write_eof()
        return self._response
