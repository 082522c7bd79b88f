"""The aiohttp application: registry, index, site and operations on one port."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from wherry.errors import InvalidParameter
from wherry.hub import index, jobs, operations, repositories_api, texts
from wherry.hub.config import HubConfig
from wherry.hub.digests import Digests
from wherry.hub.hub import HUB, Hub
from wherry.hub.metrics import Metrics
from wherry.hub.registry.routes import API_VERSION, registry_app_routes
from wherry.hub.requests import CONFIG
from wherry.hub.space import NoSpace
from wherry.hub.web.routes import routes as web_routes

log = logging.getLogger("wherry.hub")
access_log = logging.getLogger("wherry.hub.access")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(
    config: HubConfig, metrics: Metrics | None = None, digests: Digests | None = None
) -> web.Application:
    """The application of one process; opens the database and migrates it."""
    hub = Hub(config, metrics, digests)
    app = web.Application(middlewares=[_observe, _well_formed], client_max_size=1024 * 1024)
    app[HUB] = hub
    app[CONFIG] = config
    app.add_routes(repositories_api.routes())
    app.add_routes(registry_app_routes())
    app.add_routes(index.routes())
    operations.prepare(app)
    app.add_routes(operations.routes())
    app.add_routes(web_routes())
    app.on_response_prepare.append(_common_headers)
    app.cleanup_ctx.append(_background)
    return app


async def _background(app: web.Application) -> AsyncIterator[None]:
    hub = app[HUB]
    jobs.start(hub)
    yield
    await hub.close()


async def _common_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "wherry-hub"
    if request.path.startswith("/v2"):
        response.headers.update(API_VERSION)


@web.middleware
async def _well_formed(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuses URLs with characters that nothing here can have in its name; forms and bodies
    are checked where they are read."""
    try:
        texts.check(request.path)
        texts.check_all(list(request.query.items()))
        return await handler(request)
    except InvalidParameter as error:
        body = {"detail": str(error), "errors": [{"code": "UNSUPPORTED", "message": str(error)}]}
        return web.json_response(body, status=400)


@web.middleware
async def _observe(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Counts and logs each request."""
    started = time.perf_counter()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    except web.HTTPException as error:
        status = error.status
        raise
    except NoSpace as error:
        # The registry and the pages have forms of their own for this; all others get JSON.
        status = 507
        return web.json_response({"detail": str(error), "message": str(error)}, status=status)
    except (ConnectionError, asyncio.CancelledError):
        status = 499
        raise
    finally:
        seconds = time.perf_counter() - started
        request.app[HUB].metrics.request(request.method, operations.area(request), status, seconds)
        if access_log.isEnabledFor(logging.INFO):
            access_log.info(
                "%s %s %d",
                request.method,
                request.path,
                status,
                extra={
                    "fields": {
                        "method": request.method,
                        "path": request.path,
                        "status": status,
                        "seconds": round(seconds, 4),
                        "client": request.remote,
                        "agent": request.headers.get("User-Agent", "")[:120],
                    }
                },
            )
