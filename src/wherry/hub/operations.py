"""Health and metrics endpoints, for load balancers and Prometheus."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from dataclasses import dataclass, field

from aiohttp import web
from sqlalchemy import Connection, func, select, update

from wherry.hub.hub import Hub, hub_of
from wherry.hub.metrics import labelled
from wherry.hub.records import jobs as job_records
from wherry.hub.requests import CONFIG
from wherry.hub.schema import blobs, jobs, manifests, repositories, uploads, users

_READY_SECONDS = 0.25
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def prepare(app: web.Application) -> None:
    """Adds what the endpoints keep between requests."""
    app[_READINESS] = _Readiness()


def routes() -> list[web.RouteDef]:
    """``/health`` (alive), ``/ready`` (database and storage take writes) and ``/metrics``."""
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


@dataclass
class _Readiness:
    """The last answer of ``/ready``: whoever asks often must not make the disk busy."""

    until: float = 0.0
    problems: dict[str, str] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_READINESS = web.AppKey("readiness", _Readiness)


async def _ready(request: web.Request) -> web.Response:
    readiness = request.app[_READINESS]
    async with readiness.lock:
        if time.monotonic() >= readiness.until:
            readiness.problems = await _problems(hub_of(request))
            readiness.until = time.monotonic() + _READY_SECONDS
        problems = readiness.problems
    if problems:
        return web.json_response({"status": "unavailable", **problems}, status=503)
    return web.json_response({"status": "ok"})


async def _problems(hub: Hub) -> dict[str, str]:
    """Writes to the database and to the storage; what failed, and why."""
    problems = {}
    try:
        await hub.db.write(_probe)
        # The probe may have got through on the last bytes: room must be left for real work.
        if not hub.reserve.hold():
            problems["database"] = "the disk is full: there is no room for the reserve"
    except Exception as error:
        problems["database"] = _line(error)
    try:
        await hub.storage.check()
    except Exception as error:
        problems["storage"] = _line(error)
    return problems


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _probe(conn: Connection) -> None:
    conn.execute(update(jobs).values(lease_end=jobs.c.lease_end))


async def _metrics(request: web.Request) -> web.Response:
    _check_watcher(request)
    hub = hub_of(request)
    body = hub.metrics.render(await hub.db.read(_gauges))
    return web.Response(
        body=body.encode(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


def _check_watcher(request: web.Request) -> None:
    """Lets through who has the token or, without one, who asks from this very machine.

    A proxy on this machine passes on what anybody asks: what it forwards, or what was asked under
    another name than this machine's own, does not count as from here. The names also keep out
    pages of other sites whose own name leads here (DNS rebinding).
    """
    token = request.app[CONFIG].metrics_token
    if token:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Bearer realm="metrics"'})
        return
    forwarded = any(name in request.headers for name in _FORWARDED)
    here = _is_loopback(request.remote or "") and _is_loopback(_asked_host(request))
    if forwarded or not here:
        raise web.HTTPForbidden(
            text="metrics are shown on this machine only, or with the metrics_token\n"
        )


def _asked_host(request: web.Request) -> str:
    host = request.host
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
    for job in job_records.listing(conn):
        known = {
            "job_runs": job.runs,
            "job_failures": job.failures,
            "job_failed": job.failed,
            "job_last_run_timestamp_seconds": job.ended or 0,
            "job_next_run_timestamp_seconds": job.next_run,
        }
        for name, value in known.items():
            gauges[labelled(name, job=job.name)] = float(value)
    return gauges
