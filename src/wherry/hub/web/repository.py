"""Pages of a repository: overview, tags, one image, differences between two."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from markupsafe import Markup
from sqlalchemy import Connection

from wherry.errors import NotFound
from wherry.hub.access import Role
from wherry.hub.distribution.names import is_digest
from wherry.hub.hub import hub_of
from wherry.hub.records import images, manifests, repositories, social
from wherry.hub.web import plot
from wherry.hub.web.access import Seen, see
from wherry.hub.web.compare import compare_images
from wherry.hub.web.page import VISIT, page_number, show

_DAYS = 30
_TAGS = 100


async def overview(request: web.Request) -> web.StreamResponse:
    """README, pull command, latest tags, pulls over time, comments."""
    seen = await see(request)
    user = request[VISIT].user
    hub = hub_of(request)
    values = await hub.db.read(_overview, seen, user.id if user else None)
    texts = [values["readme"], *(comment.body for comment in values["comments"])]
    readme, *bodies = map(Markup, await hub.renderer.htmls(texts))
    values["readme"] = readme if values["readme"].strip() else ""
    return show(request, "repository.html", tab="overview", seen=seen, bodies=bodies, **values)


def _overview(conn: Connection, seen: Seen, user: int | None) -> dict[str, Any]:
    repository = seen.repository
    tags = images.tag_views(conn, repository.id, limit=6)
    comments = social.comments_of(conn, repository.id)
    return {
        "repository": repository,
        "readme": repositories.readme(conn, repository.id),
        "tags": tags,
        "tag_count": images.count_tags(conn, repository.id),
        "comments": [comment for comment in comments if not comment.hidden or seen.may_administer],
        "plot": plot.pulls(social.pulls_by_day(conn, repository.id, _DAYS)),
        "starred": user is not None and social.has_star(conn, repository.id, user),
        "pull_tag": _pull_tag(tags),
    }


def _pull_tag(tags: list[images.TagView]) -> str:
    """The tag of the pull command: none for latest, or else the newest."""
    names = [tag.name for tag in tags]
    return "" if not names or "latest" in names else f":{names[0]}"


async def tags(request: web.Request) -> web.StreamResponse:
    """A page of the tags, or of those whose names hold a text: sizes, platforms and dates."""
    seen = await see(request)
    part = request.query.get("filter", "").strip()[:128]
    number = page_number(request)
    values = await hub_of(request).db.read(_tags, seen, request[VISIT].user, part, number)
    return show(request, "tags.html", tab="tags", seen=seen, part=part, **values)


def _tags(conn: Connection, seen: Seen, user: Any, part: str, number: int) -> dict[str, Any]:
    repository = seen.repository
    found = images.count_tags(conn, repository.id, part)
    pages = max((found + _TAGS - 1) // _TAGS, 1)
    number = min(number, pages)
    skip = (number - 1) * _TAGS
    return {
        "repository": repository,
        "tags": images.tag_views(conn, repository.id, limit=_TAGS, skip=skip, part=part),
        "found": found,
        "number": number,
        "pages": pages,
        "tag_count": images.count_tags(conn, repository.id),
        "starred": user is not None and social.has_star(conn, repository.id, user.id),
        "may_delete": seen.role >= Role.ADMIN,
    }


def _choices(conn: Connection, repository: int, *chosen: str) -> list[str]:
    """What can be compared: the newest tags, and what was chosen already."""
    newest = [tag.name for tag in images.tag_views(conn, repository, limit=_TAGS)]
    return list(dict.fromkeys([*chosen, *newest]))


def _resolve(conn: Connection, repository: int, reference: str) -> dict[str, Any]:
    digest: str | None = reference
    if not is_digest(reference):
        digest = manifests.tag_digest(conn, repository, reference)
    found = images.image(conn, repository, digest) if digest else None
    if found is None:
        raise NotFound("no such tag or image")
    return found


async def image(request: web.Request) -> web.StreamResponse:
    """One tag or image: platforms, layers with their commands, settings, attached artifacts."""
    seen = await see(request)
    reference = request.match_info["reference"]
    platform = request.query.get("platform", "")
    values = await hub_of(request).db.read(_image, seen, reference, platform, request[VISIT].user)
    return show(request, "image.html", tab="tags", seen=seen, reference=reference, **values)


def _image(
    conn: Connection, seen: Seen, reference: str, platform: str, user: Any
) -> dict[str, Any]:
    repository = seen.repository
    top = _resolve(conn, repository.id, reference)
    shown = top
    if top["children"]:
        wanted = [child for child in top["children"] if child.platform == platform]
        child = (wanted or [c for c in top["children"] if c.platform] or top["children"])[0]
        shown = _resolve(conn, repository.id, child.digest)
    return {
        "repository": repository,
        "top": top,
        "image": shown,
        "referrers": [
            referrer
            for _, referrer in manifests.referrers(conn, repository.id, top["digest"], 0, 50)
        ],
        "tag_count": images.count_tags(conn, repository.id),
        "starred": user is not None and social.has_star(conn, repository.id, user.id),
        "largest": max((layer.size for layer in shown["layers"]), default=1) or 1,
    }


async def compare(request: web.Request) -> web.StreamResponse:
    """What differs between two tags: layers, history, settings."""
    seen = await see(request)
    old, new = request.query.get("from", "")[:200], request.query.get("to", "")[:200]
    platform = request.query.get("platform", "")[:100]
    values = await hub_of(request).db.read(_compare, seen, old, new, platform, request[VISIT].user)
    return show(request, "compare.html", tab="tags", seen=seen, old=old, new=new, **values)


def _compare(
    conn: Connection, seen: Seen, old: str, new: str, platform: str, user: Any
) -> dict[str, Any]:
    repository = seen.repository
    before = _image(conn, seen, old, platform, user)
    after = _image(conn, seen, new, platform, user)
    return {
        "repository": repository,
        "before": before["image"],
        "after": after["image"],
        "difference": compare_images(before["image"], after["image"]),
        "tags": _choices(conn, repository.id, old, new),
        "tag_count": before["tag_count"],
        "starred": before["starred"],
    }
