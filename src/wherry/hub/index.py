"""The index that ``docker search`` asks: ``/v1/_ping`` and ``/v1/search``."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import Forbidden, Unauthorized
from wherry.hub.access import Actor
from wherry.hub.distribution.names import OFFICIAL, display_name
from wherry.hub.hub import hub_of
from wherry.hub.records import repositories, search
from wherry.hub.requests import SERVICE, client_address

_DEFAULT_PAGE = 25
_MAX_PAGE = 100
_MAX_OFFSET = 10_000


def routes() -> list[web.RouteDef]:
    """The routes of the index."""
    return [web.get("/v1/_ping", _ping), web.get("/v1/search", _search)]


async def _ping(request: web.Request) -> web.Response:
    return web.json_response(True, headers={"X-Docker-Registry-Standalone": "false"})


async def _search(request: web.Request) -> web.Response:
    hub = hub_of(request)
    try:
        actor = await hub.identifier.from_header(
            request.headers.get("Authorization", ""), SERVICE, client_address(request)
        )
    except (Unauthorized, Forbidden) as error:
        return web.json_response({"detail": str(error)}, status=401)
    query = request.query.get("q", "")[:200]
    size = _number(request.query.get("n"), _DEFAULT_PAGE, _MAX_PAGE)
    page = _number(request.query.get("page"), 1, _MAX_OFFSET // size)
    official = {"true": True, "1": True, "false": False, "0": False}.get(
        request.query.get("is_official", request.query.get("is-official", ""))
    )
    stars = _number(request.query.get("stars"), 0, 2**31 - 1, least=0)
    body = await hub.db.read(
        _results, actor, hub.config.anonymous_pull, query, page, size, official, stars
    )
    return web.json_response(body)


def _number(text: str | None, default: int, most: int, least: int = 1) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        return default
    return max(least, min(int(text[:10]), most))


def _results(
    conn: Connection,
    actor: Actor,
    anonymous_pull: bool,
    query: str,
    page: int,
    size: int,
    official: bool | None,
    stars: int,
) -> dict[str, Any]:
    found = search.find(
        conn,
        query,
        repositories.visible(actor, anonymous_pull),
        offset=(page - 1) * size,
        limit=size,
        official=official,
        min_stars=stars,
    )
    return {
        "query": query,
        "num_results": found.total,
        "num_pages": -(-found.total // size),
        "page": page,
        "page_size": size,
        "results": [
            {
                "name": display_name(repository.name),
                "description": repository.description,
                "star_count": repository.stars,
                "is_official": repository.owner == OFFICIAL,
                "is_automated": repository.automated,
                "is_trusted": repository.automated,
                "pull_count": repository.pulls,
            }
            for repository in repositories.by_ids(conn, found.ids)
        ],
    }
