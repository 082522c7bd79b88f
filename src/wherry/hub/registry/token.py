"""The token endpoint: ``GET /token`` and OAuth2's ``POST /token`` (distribution auth spec)."""

from __future__ import annotations

import datetime
import re
from typing import Any

from aiohttp import web

from wherry.errors import Forbidden, Unauthorized
from wherry.hub.access import ACTION_ROLES, Actor, Role
from wherry.hub.distribution.errors import (
    RegistryError,
    denied,
    too_many_requests,
    unauthorized,
)
from wherry.hub.distribution.names import repository_name
from wherry.hub.hub import Hub, hub_of
from wherry.hub.registry.authorize import challenge, look
from wherry.hub.registry.upstream import mirrored_role
from wherry.hub.requests import SERVICE, actor_of, client_address, form_fields

_SCOPE = re.compile(r"(?P<type>[a-z]+)(?:\([a-z0-9]+\))?:(?P<name>.+):(?P<actions>[a-z*,]*)")
_MAX_SCOPES = 20
_REFRESH_LIFETIME = 90 * 86_400


async def get_token(request: web.Request) -> web.Response:
    """A token for what of the wanted scopes the caller may do; anonymous callers get one too."""
    hub = hub_of(request)
    actor = await _basic_actor(request)
    access = await grant(hub, actor, _split(request.query.getall("scope", [])))
    body = await _answer(hub, actor, access)
    if request.query.get("offline_token") == "true" and not actor.anonymous:
        client = request.query.get("client_id", "")
        body["refresh_token"] = await _refresh_token(request, actor, client)
    return web.json_response(body, headers={"Cache-Control": "no-store"})


async def post_token(request: web.Request) -> web.Response:
    """The same by form: grant types ``password`` and ``refresh_token``."""
    hub = hub_of(request)
    values = await form_fields(request)
    kind = values.get("grant_type", "")
    refresh = values.get("refresh_token", "")
    if kind == "password":
        actor = await _login(request, values.get("username", ""), values.get("password", ""))
    elif kind == "refresh_token":
        actor = await _refreshed(request, refresh)
    else:
        raise RegistryError(400, "UNSUPPORTED", f"grant type {kind[:40]!r} is not supported")
    access = await grant(hub, actor, _split([values.get("scope", "")]))
    body = await _answer(hub, actor, access)
    body["scope"] = " ".join(
        f"{entry['type']}:{entry['name']}:{','.join(entry['actions'])}" for entry in access
    )
    if kind == "refresh_token":
        body["refresh_token"] = refresh
    elif values.get("access_type") == "offline":
        body["refresh_token"] = await _refresh_token(request, actor, values.get("client_id", ""))
    return web.json_response(body, headers={"Cache-Control": "no-store"})


async def _basic_actor(request: web.Request) -> Actor:
    header = request.headers.get("Authorization", "")
    try:
        return await hub_of(request).identifier.from_header(
            header, SERVICE, client_address(request)
        )
    except Unauthorized as error:
        raise _wrong(error) from None
    except Forbidden:
        raise too_many_requests(60) from None


async def _login(request: web.Request, name: str, password: str) -> Actor:
    try:
        return await hub_of(request).identifier.login(name, password, client_address(request))
    except Unauthorized as error:
        raise _wrong(error) from None
    except Forbidden:
        raise too_many_requests(60) from None


def _wrong(error: Exception) -> RegistryError:
    refusal = unauthorized(str(error))
    refusal.headers["WWW-Authenticate"] = 'Basic realm="Wherry Hub"'
    return refusal


async def _refreshed(request: web.Request, secret: str) -> Actor:
    try:
        return await hub_of(request).identifier.access_token(secret)
    except Unauthorized:
        raise unauthorized("the refresh token is not valid") from None


async def _refresh_token(request: web.Request, actor: Actor, client: str) -> str:
    """A token for the client to keep; it ends with the one that it logged in with."""
    try:
        return await hub_of(request).identifier.descend(
            actor, client or "docker login", _REFRESH_LIFETIME, client_address(request)
        )
    except Forbidden as error:
        raise denied(str(error)) from None
    except Unauthorized as error:
        raise _wrong(error) from None


def _split(values: list[str]) -> list[str]:
    scopes = [scope for value in values for scope in value.split()]
    if len(scopes) > _MAX_SCOPES:
        raise RegistryError(400, "UNSUPPORTED", f"more than {_MAX_SCOPES} scopes")
    return scopes


async def grant(hub: Hub, actor: Actor, scopes: list[str]) -> list[dict[str, Any]]:
    """The access entries of a token: of each wanted scope what the actor may do now.

    Unknown scopes and repositories give an entry without actions, whether they exist or not.
    """
    entries: list[dict[str, Any]] = []
    for scope in scopes:
        match = _SCOPE.fullmatch(scope)
        if match is None:
            continue
        kind, name = match["type"], match["name"]
        wanted = [action for action in match["actions"].split(",") if action]
        if kind == "registry":
            actions = wanted if name == "catalog" and not actor.anonymous else []
        elif kind == "repository":
            try:
                canonical = repository_name(name)
            except RegistryError:
                continue
            actions = await _granted(hub, actor, canonical, wanted)
            name = canonical
        else:
            continue
        entries.append({"type": kind, "name": name, "actions": actions})
    return entries


async def _granted(hub: Hub, actor: Actor, name: str, wanted: list[str]) -> list[str]:
    found = await hub.db.read(look, actor, name, hub.config.anonymous_pull)
    role = mirrored_role(hub, actor, found, name)
    if found.repository is None and found.creatable:
        role = Role.ADMIN
    return [
        action
        for action in dict.fromkeys(wanted)
        if action in ACTION_ROLES and role >= ACTION_ROLES[action] and actor.in_scope(name, action)
    ]


async def _answer(hub: Hub, actor: Actor, access: list[dict[str, Any]]) -> dict[str, Any]:
    issued = await hub.issuer.issue(SERVICE, actor, access)
    moment = datetime.datetime.fromtimestamp(issued.at, datetime.UTC)
    return {
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.seconds,
        "issued_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


async def ping(request: web.Request) -> web.Response:
    """``GET /v2/``: the registry is here, and the credentials are good (or not needed)."""
    actor = actor_of(request)
    if actor.anonymous and not actor.admin and actor.scopes is None:
        raise challenge(request)
    return web.json_response({})
