"""Health and metrics endpoints, for load balancers and Prometheus."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import Connection, func, select, text

from wherry.hub.hub import hub_of
from wherry.hub.schema import blobs, manifests, repositories, uploads, users


def routes() -> list[web.RouteDef]:
    """``/health`` (alive), ``/ready`` (database and storage answer) and ``/metrics``."""
    return [
        web.get("/health", _health),
        web.get("/ready", _ready),
        web.get("/metrics", _metrics),
    ]


def area(request: web.Request) -> str:
    """The label under which a request is counted: few values, whatever the URL."""
    path = request.path
    if path.startswith("/v2/"):
        for part in ("/blobs/uploads", "/blobs/", "/manifests/", "/tags/list", "/referrers/"):
            if part in path:
                return part.strip("/").replace("/", "_")
        return "registry"
    first = path.split("/", 2)[1]
    known = ("token", "v1", "static", "health", "ready", "metrics", "r", "u", "search")
    return first if first in known else "site"


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _ready(request: web.Request) -> web.Response:
    hub = hub_of(request)
    problems = {}
    try:
        await hub.db.read(_ping)
    except Exception as error:
        problems["database"] = str(error).splitlines()[0]
    try:
        await hub.storage.check()
    except Exception as error:
        problems["storage"] = str(error).splitlines()[0]
    if problems:
        return web.json_response({"status": "unavailable", **problems}, status=503)
    return web.json_response({"status": "ok"})


def _ping(conn: Connection) -> None:
    conn.execute(text("SELECT 1"))


async def _metrics(request: web.Request) -> web.Response:
    hub = hub_of(request)
    body = hub.metrics.render(await hub.db.read(_gauges))
    return web.Response(
        body=body.encode(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


def _gauges(conn: Connection) -> dict[str, float]:
    tables = {
        "users": users,
        "repositories": repositories,
        "manifests": manifests,
        "blobs": blobs,
        "uploads_under_way": uploads,
    }
    gauges = {
        name: float(conn.execute(select(func.count()).select_from(table)).scalar_one())
        for name, table in tables.items()
    }
    gauges["stored_bytes"] = float(
        conn.execute(select(func.coalesce(func.sum(blobs.c.size), 0))).scalar_one()
    )
    return gauges
