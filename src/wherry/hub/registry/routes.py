"""URLs of the registry, and what all its answers have in common."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from wherry.errors import Forbidden, InvalidParameter, Unauthorized
from wherry.hub.access import Actor
from wherry.hub.distribution.errors import (
    RegistryError,
    no_space,
    too_many_requests,
    unsupported,
)
from wherry.hub.hub import hub_of
from wherry.hub.registry import blobs, listings, manifests, token, uploads
from wherry.hub.registry.authorize import CATALOG_PATH, renewal
from wherry.hub.requests import ACTOR, SERVICE, client_address
from wherry.hub.space import NoSpace

log = logging.getLogger("wherry.hub")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
API_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
"""Header of every answer below /v2/."""

OPEN_ACTOR = Actor(admin=True)
"""Who an anonymous client of an open hub is: allowed to do anything in the registry."""


def registry_app_routes() -> list[web.RouteDef]:
    """All routes below /v2/ and the token endpoint."""
    routes: list[web.RouteDef] = []

    def add(method: str, path: str, handler: _Handler) -> None:
        routes.append(web.route(method, path, _guarded(handler)))

    for path in ("/token", "/v2/token"):
        routes.append(web.route("GET", path, _in_registry_form(token.get_token)))
        routes.append(web.route("POST", path, _in_registry_form(token.post_token)))
    add("GET", "/v2", token.ping)
    add("GET", "/v2/", token.ping)
    add("GET", CATALOG_PATH, listings.list_catalog)
    add("GET", "/v2/{name:.+}/tags/list", listings.list_tags)
    add("GET", "/v2/{name:.+}/referrers/{digest}", listings.list_referrers)
    add("POST", "/v2/{name:.+}/blobs/uploads", uploads.post_upload)
    add("POST", "/v2/{name:.+}/blobs/uploads/", uploads.post_upload)
    add("GET", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.get_upload)
    add("PATCH", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.patch_upload)
    add("PUT", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.put_upload)
    add("DELETE", "/v2/{name:.+}/blobs/uploads/{upload}", uploads.delete_upload)
    add("GET", "/v2/{name:.+}/blobs/{digest}", blobs.get_blob)
    add("DELETE", "/v2/{name:.+}/blobs/{digest}", blobs.delete_blob)
    add("GET", "/v2/{name:.+}/manifests/{reference}", manifests.get_manifest)
    add("PUT", "/v2/{name:.+}/manifests/{reference}", manifests.put_manifest)
    add("DELETE", "/v2/{name:.+}/manifests/{reference}", manifests.delete_manifest)
    routes.append(web.route("*", "/v2/{tail:.*}", _in_registry_form(_nothing)))
    return routes


async def _nothing(request: web.Request) -> web.StreamResponse:
    if request.method not in ("GET", "HEAD"):
        raise unsupported("the operation is unsupported")
    raise RegistryError(404, "NAME_UNKNOWN", "no such resource")


def _guarded(handler: _Handler) -> _Handler:
    """Identifies the actor before the handler runs."""

    async def identified(request: web.Request) -> web.StreamResponse:
        hub = hub_of(request)
        header = request.headers.get("Authorization", "")
        try:
            actor = await hub.identifier.from_header(header, SERVICE, client_address(request))
        except Unauthorized as error:
            refusal = renewal(request)
            refusal.args = (str(error),)
            raise refusal from None
        except Forbidden:
            raise too_many_requests(60) from None
        if actor.anonymous and hub.config.open:
            actor = dataclasses.replace(OPEN_ACTOR)
        request[ACTOR] = actor
        return await handler(request)

    return _in_registry_form(identified)


def _in_registry_form(handler: _Handler) -> _Handler:
    """Turns errors into the registry's JSON."""

    async def formed(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except RegistryError as error:
            return _error(request, error)
        except InvalidParameter as error:
            return _error(request, RegistryError(400, "UNSUPPORTED", str(error)))
        except NoSpace as error:
            log.error("%s %s: %s", request.method, request.path, error)
            return _error(request, no_space(str(error)))
        except web.HTTPException:
            raise
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return _error(request, RegistryError(500, "UNKNOWN", "internal server error"))

    return formed


def _error(request: web.Request, error: RegistryError) -> web.Response:
    headers = {**error.headers, "Content-Type": "application/json"}
    return web.Response(status=error.status, body=error.body(), headers=headers)
