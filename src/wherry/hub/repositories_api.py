"""The API in the shape of Docker Hub's v2: reading, making repositories, README updates.

``GET /v2/repositories/<owner>/<name>/`` and its ``tags/`` are what badges and scripts read;
``POST /v2/users/login`` and ``PATCH`` are what actions use that keep a README in step with git;
``POST /v2/repositories/`` makes a repository, a private one too, before anything is pushed.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import Forbidden, Unauthorized
from wherry.hub import texts
from wherry.hub.access import Actor, Role
from wherry.hub.distribution.errors import RegistryError
from wherry.hub.distribution.names import repository_name
from wherry.hub.hub import hub_of
from wherry.hub.records import images, repositories
from wherry.hub.records.images import TagView
from wherry.hub.records.repositories import Repository
from wherry.hub.registry.authorize import look
from wherry.hub.requests import SERVICE, client_address
from wherry.hub.web.render import iso_time

_LOGIN_SECONDS = 86_400
_MAX_PAGE = 100
_LONGEST_README = 100_000
_LONGEST_DESCRIPTION = 200


def routes() -> list[web.RouteDef]:
    """The routes; they end with a slash, so they never meet those of the registry."""
    one = "/v2/repositories/{owner}/{name:[^?#]+?}/"
    return [
        web.post("/v2/users/login", _login),
        web.post("/v2/users/login/", _login),
        web.post("/v2/repositories/", _create),
        web.get("/v2/repositories/{owner}/", _list),
        web.get(f"{one}tags/", _tags),
        web.get(one, _show),
        web.patch(one, _change),
    ]


def _problem(status: int, text: str) -> web.Response:
    return web.json_response({"detail": text, "message": text}, status=status)


async def _actor(request: web.Request) -> Actor:
    header = request.headers.get("Authorization", "")
    if header.startswith("JWT "):
        header = f"Bearer {header[4:]}"
    return await hub_of(request).identifier.from_header(header, SERVICE, client_address(request))


async def _body(request: web.Request) -> Any:
    """The JSON body. Raises ValueError, and InvalidParameter for texts that cannot be stored."""
    try:
        return texts.check_all(json.loads(await request.read()))
    except RecursionError:
        raise ValueError("nested too deep") from None


async def _login(request: web.Request) -> web.Response:
    """Name and password (or access token) for a token that lives a day."""
    hub = hub_of(request)
    try:
        body = await _body(request)
        name, password = str(body["username"]), str(body["password"])
        actor = await hub.identifier.login(name, password, client_address(request))
        secret = await hub.identifier.descend(
            actor, "API login", _LOGIN_SECONDS, client_address(request)
        )
    except (ValueError, KeyError, TypeError):
        return _problem(400, "username and password are needed")
    except (Unauthorized, Forbidden) as error:
        return _problem(401, str(error))
    return web.json_response({"token": secret})


async def _find(request: web.Request) -> tuple[Repository | None, Role]:
    """The repository of the URL, and what the actor may do with these credentials."""
    try:
        actor = await _actor(request)
        info = request.match_info
        name = repository_name(f"{info['owner']}/{info['name']}")
    except (Unauthorized, Forbidden, RegistryError):
        return None, Role.NONE
    hub = hub_of(request)
    found = await hub.db.read(look, actor, name, hub.config.anonymous_pull)
    role = min(found.role, actor.reach(name))
    return (found.repository, role) if role >= Role.READ else (None, Role.NONE)


async def _create(request: web.Request) -> web.Response:
    """Makes an empty repository under an owner that the actor may push to."""
    hub = hub_of(request)
    try:
        body = await _body(request)
        name = repository_name(f"{body['namespace']}/{body['name']}")
        private = bool(body.get("is_private", hub.config.private_by_default))
        description = str(body.get("description") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return _problem(400, "namespace and name are needed")
    except RegistryError as error:
        return _problem(400, str(error))
    try:
        actor = await _actor(request)
    except (Unauthorized, Forbidden) as error:
        return _problem(401, str(error))
    if actor.anonymous:
        return _problem(401, "log in first")
    found = await hub.db.read(look, actor, name, hub.config.anonymous_pull)
    if found.repository is not None and found.role >= Role.READ:
        return _problem(409, f"there is a repository {name} already")
    if not found.creatable or not actor.in_scope(name, "push"):
        return _problem(403, "you may not make repositories for that owner")
    repository = await hub.db.write(
        repositories.create, name, private=private, description=description[:_LONGEST_DESCRIPTION]
    )
    return web.json_response(_view(repository), status=201)


def _view(repository: Repository) -> dict[str, Any]:
    return {
        "user": repository.owner,
        "namespace": repository.owner,
        "name": repository.name.partition("/")[2],
        "repository_type": "image",
        "status": 1,
        "description": repository.description,
        "is_private": repository.private,
        "is_automated": repository.automated,
        "star_count": repository.stars,
        "pull_count": repository.pulls,
        "date_registered": iso_time(repository.created),
        "last_updated": iso_time(repository.pushed) or None,
    }


async def _show(request: web.Request) -> web.Response:
    repository, role = await _find(request)
    if repository is None:
        return _problem(404, "object not found")
    readme = await hub_of(request).db.read(repositories.readme, repository.id)
    permissions = {
        "read": role >= Role.READ,
        "write": role >= Role.WRITE,
        "admin": role >= Role.ADMIN,
    }
    return web.json_response(
        {**_view(repository), "full_description": readme, "permissions": permissions}
    )


async def _list(request: web.Request) -> web.Response:
    hub = hub_of(request)
    try:
        actor = await _actor(request)
    except (Unauthorized, Forbidden) as error:
        return _problem(401, str(error))
    if actor.anonymous and not hub.config.anonymous_pull:
        return _problem(401, "log in first")
    found = await hub.db.read(repositories.by_owner, actor, request.match_info["owner"])
    return _page(request, [_view(repository) for repository in found])


async def _tags(request: web.Request) -> web.Response:
    repository, _ = await _find(request)
    if repository is None:
        return _problem(404, "object not found")
    found = await hub_of(request).db.read(_tag_views, repository.id)
    return _page(request, [_tag_view(tag) for tag in found])


def _tag_views(conn: Connection, repository: int) -> list[TagView]:
    return images.tag_views(conn, repository, limit=10_000)


def _tag_view(tag: TagView) -> dict[str, Any]:
    return {
        "name": tag.name,
        "full_size": tag.size,
        "digest": tag.digest,
        "last_updated": iso_time(tag.updated),
        "last_updater_username": tag.updated_by,
        "images": [
            {
                "os": system,
                "architecture": architecture,
                "variant": variant or None,
                "digest": image.digest,
                "size": image.size,
            }
            for image in tag.images
            for system, architecture, variant in [(image.platform.split("/") + 3 * [""])[:3]]
        ],
    }


def _page(request: web.Request, items: list[dict[str, Any]]) -> web.Response:
    size = _number(request.query.get("page_size"), 10, _MAX_PAGE)
    number = _number(request.query.get("page"), 1, 10**6)
    shown = items[(number - 1) * size : number * size]

    def link(page: int) -> str:
        return str(request.rel_url.update_query(page=str(page), page_size=str(size)))

    return web.json_response(
        {
            "count": len(items),
            "next": link(number + 1) if number * size < len(items) else None,
            "previous": link(number - 1) if number > 1 else None,
            "results": shown,
        }
    )


def _number(text: str | None, default: int, most: int) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return default
    return max(1, min(int(text), most))


async def _change(request: web.Request) -> web.Response:
    """Sets description and README; nothing else can be changed this way."""
    repository, role = await _find(request)
    if repository is None:
        return _problem(404, "object not found")
    if role < Role.ADMIN:
        return _problem(403, "your role on this repository does not allow that")
    try:
        body = await _body(request)
        readme, description = body.get("full_description"), body.get("description")
    except (ValueError, AttributeError):
        return _problem(400, "the body is not a JSON object")
    values: dict[str, Any] = {}
    if isinstance(readme, str):
        values["readme"] = readme[:_LONGEST_README]
    if isinstance(description, str):
        values["description"] = description[:_LONGEST_DESCRIPTION]
    if values:
        await hub_of(request).db.write(repositories.change, repository.id, **values)
    return await _show(request)
