"""The HTTP application: version, route, handler, error form, common headers. No logic."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from wherry.api import versions
from wherry.api.call import Call
from wherry.api.errors import INTERNAL, shortage, status_of
from wherry.api.origin import HostCheck
from wherry.api.protocol import DockerServer
from wherry.api.replies import common_headers, message
from wherry.api.router import Match, Route, Router
from wherry.errors import WherryError

log = logging.getLogger(__name__)
_SLASHES = re.compile("/{2,}")


class Api:
    """The Engine REST API over one engine."""

    def __init__(
        self,
        engine: Any,
        routes: Iterable[Route],
        *,
        experimental: bool = False,
        hosts: HostCheck | None = None,
    ) -> None:
        self._engine = engine
        self._hosts = hosts or HostCheck()
        self._router = Router(routes)
        self._headers = common_headers(experimental=experimental)

    def server(self) -> DockerServer:
        """What makes the protocol of each connection."""
        return DockerServer(self.handle)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; what goes wrong becomes an answer too."""
        try:
            response = await self._answer(request)
        except WherryError as error:
            status = status_of(error)
            if status == 500:
                log.error("%s %s: %s", request.method, request.path, error)
            response = message(str(error), status)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except web.HTTPException as error:  # aiohttp's own: what was received is not valid HTTP
            response = message(error.text or error.reason, error.status)
        except Exception as error:
            scarce = shortage(error)
            log.error(
                "%s %s failed: %s",
                request.method,
                request.path_qs,
                scarce or INTERNAL,
                exc_info=scarce is None,
            )
            response = message(str(scarce or INTERNAL), 500)
        if not response.prepared:
            response.headers.update(self._headers)
        elif request.writer.output_size and response.status >= 500:
            raise ConnectionResetError
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._hosts.check(request)
        path = _SLASHES.sub("/", unquote(request.rel_url.raw_path, errors="replace"))
        log.debug("%s %s", request.method, path)
        version, path = versions.split(path)
        match = self._router.find(request.method, path, version)
        if match is None:
            return message("page not found", 404)
        await _say_continue(request)
        call = Call(request, self._engine, version, match.parts, self._headers)
        if match.route.follows_client:
            return await match.route.handler(call)
        return await self._finish(match, call)

    async def _finish(self, match: Match, call: Call) -> web.StreamResponse:
        """Run a handler to its end, even when the client goes away meanwhile."""
        task = asyncio.ensure_future(match.route.handler(call))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_late_failure)
            raise


async def _say_continue(request: web.BaseRequest) -> None:
    """Let a client that asks first send its body (curl does for large ones)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer proper has not begun


def _log_late_failure(task: asyncio.Future[web.StreamResponse]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.info("after its client had gone away, a request failed: %s", error)
