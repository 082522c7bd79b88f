"""Home, search results, and owners' pages."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from sqlalchemy import Connection, func, select

from wherry.errors import NotFound
from wherry.hub.access import Actor
from wherry.hub.hub import hub_of
from wherry.hub.records import organisations, repositories, search
from wherry.hub.requests import actor_of
from wherry.hub.schema import repositories as repository_table
from wherry.hub.schema import users
from wherry.hub.web.page import VISIT, page_number, show

_PAGE = 20
_HOME = 9
_MAX_PAGES = 500


async def home(request: web.Request) -> web.StreamResponse:
    """Search, popular and recent repositories."""
    hub = hub_of(request)
    actor = actor_of(request)
    if actor.anonymous and not hub.config.anonymous_pull:
        return show(request, "home.html", popular=[], recent=[], counts={})
    return show(request, "home.html", **await hub.db.read(_home))


def _home(conn: Connection) -> dict[str, Any]:
    public = select(func.count()).select_from(repository_table)
    totals = select(func.coalesce(func.sum(repository_table.c.pulls), 0))
    return {
        "popular": repositories.popular(conn, _HOME),
        "recent": repositories.recent(conn, 6),
        "counts": {
            "repositories": conn.execute(
                public.where(repository_table.c.private.is_(False))
            ).scalar_one(),
            "pulls": conn.execute(totals.where(repository_table.c.private.is_(False))).scalar_one(),
            "people": conn.execute(select(func.count()).select_from(users)).scalar_one(),
        },
    }


async def search_page(request: web.Request) -> web.StreamResponse:
    """Search results, ranked, in pages."""
    hub = hub_of(request)
    query = request.query.get("q", "").strip()[:200]
    number = min(page_number(request), _MAX_PAGES)
    official = True if request.query.get("official") == "1" else None
    total, found = await hub.db.read(
        _search, actor_of(request), hub.config.anonymous_pull, query, number, official
    )
    return show(
        request,
        "search.html",
        query=query,
        official=official,
        results=found,
        total=total,
        number=number,
        pages=min(-(-total // _PAGE), _MAX_PAGES),
    )


def _search(
    conn: Connection,
    actor: Actor,
    anonymous_pull: bool,
    query: str,
    number: int,
    official: bool | None,
) -> tuple[int, list[repositories.Repository]]:
    found = search.find(
        conn,
        query,
        repositories.visible(actor, anonymous_pull),
        offset=(number - 1) * _PAGE,
        limit=_PAGE,
        official=official,
    )
    return found.total, repositories.by_ids(conn, found.ids)


async def owner_page(request: web.Request) -> web.StreamResponse:
    """A user or organisation and the repositories that the visitor may see."""
    hub = hub_of(request)
    owner = await hub.db.read(organisations.find, request.match_info["owner"])
    if owner is None:
        raise NotFound("no such owner")
    actor = actor_of(request)
    shown: list[repositories.Repository] = []
    if hub.config.anonymous_pull or not actor.anonymous:
        shown = await hub.db.read(repositories.by_owner, actor, owner.name)
    members = await hub.db.read(organisations.members_of, owner.id)
    user = request[VISIT].user
    manages = user is not None and (
        user.admin or any(name == user.name and manager for name, manager in members)
    )
    inside = user is not None and (manages or any(name == user.name for name, _ in members))
    return show(
        request,
        "owner.html",
        owner=owner,
        repositories=shown,
        members=members if inside else [],
        manages=manages and owner.user_id is None,
    )
