"""Tags, referrers and the catalog: lists that clients page through."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from wherry.hub.distribution import names
from wherry.hub.distribution.errors import RegistryError, page_size_invalid
from wherry.hub.hub import hub_of
from wherry.hub.records import manifests, repositories
from wherry.hub.records.manifests import Referrer
from wherry.hub.registry import upstream
from wherry.hub.registry.authorize import (
    CATALOG_PATH,
    authorize,
    challenge,
    may_know,
    requested_name,
)
from wherry.hub.requests import actor_of
from wherry.mediatypes import OCI_INDEX

MAX_PAGE = 10_000
_CATALOG_PAGE = 1000
_REFERRERS_PAGE = 500


def page_size(text: str | None) -> int | None:
    """``n`` of a listing, clamped (CVE-2023-2253); None when absent.

    Raises PAGINATION_NUMBER_INVALID for anything but a non-negative number.
    """
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise page_size_invalid(text)
    return min(int(text[:9]) if len(text) < 9 else MAX_PAGE, MAX_PAGE)


def _page(items: list[str], limit: int | None, path: str) -> tuple[list[str], dict[str, str]]:
    """The items of one page and the Link header to the next, from one item too many."""
    if limit is None or len(items) <= limit or limit == 0:
        return items[:limit] if limit is not None else items, {}
    shown = items[:limit]
    return shown, _next(path, shown, limit)


def _next(path: str, shown: list[str], limit: int | None) -> dict[str, str]:
    """The Link header to what follows the last item shown."""
    if not shown:
        return {}
    query = urlencode({"n": limit or len(shown), "last": shown[-1]})
    return {"Link": f'<{path}?{query}>; rel="next"'}


async def list_tags(request: web.Request) -> web.Response:
    """Tags in byte order (spec, "Listing Tags")."""
    limit = page_size(request.query.get("n"))
    last = request.query.get("last", "")[:300]
    name = request.match_info["name"]
    far = await upstream.list_tags(request, requested_name(request), limit, last)
    if far is not None:
        headers = _next(f"/v2/{name}/tags/list", far.tags, limit) if far.more else {}
        return web.json_response({"name": name, "tags": far.tags}, headers=headers)
    repository = await authorize(request, "pull")
    found = await hub_of(request).db.read(
        manifests.tag_names, repository.id, last, None if limit is None else limit + 1
    )
    shown, headers = _page(found, limit, f"/v2/{name}/tags/list")
    return web.json_response({"name": name, "tags": shown}, headers=headers)


async def list_catalog(request: web.Request) -> web.Response:
    """Names of the repositories that the actor may see (Docker's ``_catalog``)."""
    actor = actor_of(request)
    hub = hub_of(request)
    if actor.anonymous and not actor.admin and not hub.config.anonymous_pull:
        raise challenge(request, catalog=True)
    limit = page_size(request.query.get("n"))
    limit = _CATALOG_PAGE if limit is None else limit
    last = request.query.get("last", "")[:300]
    found = await hub.db.read(
        repositories.catalog, actor, hub.config.anonymous_pull, last, limit + 1
    )
    shown, headers = _page(found, limit, CATALOG_PATH)
    body = {"repositories": [names.display_name(name) for name in shown]}
    return web.json_response(body, headers=headers)


async def list_referrers(request: web.Request) -> web.Response:
    """Manifests whose subject is a digest (spec, "Listing Referrers")."""
    subject = names.digest(request.match_info["digest"])
    wanted = request.query.getall("artifactType", [])
    after = request.query.get("last", "0")
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise page_size_invalid(after)
    headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    descriptors: list[dict[str, Any]] = []
    far = await upstream.list_referrers(request, requested_name(request), subject)
    if far is not None:
        descriptors = [each for each in far if not wanted or each.get("artifactType") in wanted]
        return _index(descriptors, headers)
    try:
        repository = await authorize(request, "pull")
    except RegistryError as error:
        # A repository about to be made has no referrers yet; that is an empty list.
        if error.status != 404 or not await may_know(request, requested_name(request)):
            raise
    else:
        found = await hub_of(request).db.read(
            manifests.referrers, repository.id, subject, int(after), _REFERRERS_PAGE + 1
        )
        if len(found) > _REFERRERS_PAGE:
            found = found[:_REFERRERS_PAGE]
            query = urlencode(
                {"last": found[-1][0], **({"artifactType": wanted[0]} if wanted else {})}
            )
            link = f"/v2/{request.match_info['name']}/referrers/{subject}?{query}"
            headers["Link"] = f'<{link}>; rel="next"'
        descriptors = [
            _descriptor(referrer)
            for _, referrer in found
            if not wanted or referrer.artifact_type in wanted
        ]
    return _index(descriptors, headers)


def _index(descriptors: list[dict[str, Any]], headers: dict[str, str]) -> web.Response:
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    return web.Response(
        body=json.dumps(body).encode(), headers={**headers, "Content-Type": OCI_INDEX}
    )


def _descriptor(referrer: Referrer) -> dict[str, Any]:
    descriptor: dict[str, Any] = {
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": referrer.size,
    }
    if referrer.artifact_type:
        descriptor["artifactType"] = referrer.artifact_type
    annotations = json.loads(referrer.content).get("annotations")
    if annotations:
        descriptor["annotations"] = annotations
    return descriptor
