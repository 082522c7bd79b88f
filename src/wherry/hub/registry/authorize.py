"""May this request do this to that repository? One answer for every registry handler.

What an outsider must not know looks the same whether it exists or not: anonymous requests get
the login challenge, others 404 for reading and 403 for writing.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web
from sqlalchemy import Connection

from wherry.hub.access import (
    ACTION_ROLES,
    CATALOG,
    Actor,
    Role,
    Standing,
    may_create,
    role,
)
from wherry.hub.distribution.errors import RegistryError, denied, name_unknown, unauthorized
from wherry.hub.distribution.names import repository_name
from wherry.hub.hub import hub_of
from wherry.hub.records import repositories
from wherry.hub.records.repositories import Repository
from wherry.hub.requests import SERVICE, actor_of, base_url

CATALOG_PATH = "/v2/_catalog"


@dataclass(frozen=True)
class Look:
    """What the database says of an actor and a repository name."""

    repository: Repository | None
    role: Role
    creatable: bool
    standing: Standing


def look(conn: Connection, actor: Actor, name: str, anonymous_pull: bool) -> Look:
    """The repository of that name and the actor's role on it."""
    repository = repositories.find(conn, name)
    standing = repositories.standing(conn, actor, name, repository.id if repository else None)
    if repository is None:
        return Look(None, Role.NONE, may_create(actor, standing), standing)
    mine = role(actor, standing, repository.private, anonymous_pull)
    return Look(repository, mine, False, standing)


def requested_name(request: web.Request) -> str:
    """The canonical repository name of the request's URL."""
    return repository_name(request.match_info["name"])


async def authorize(request: web.Request, action: str) -> Repository:
    """The repository, when the actor may do ``action`` (pull, push or delete) to it.

    Raises the registry error that the client must get otherwise.
    """
    name = requested_name(request)
    found = await _look(request, name)
    if found.repository is not None and _allowed(actor_of(request), found, name, action):
        return found.repository
    raise _refusal(request, name, action, found)


async def authorize_new(request: web.Request) -> Repository:
    """Like ``authorize(request, "push")``, but makes a repository that is not there yet."""
    name = requested_name(request)
    actor = actor_of(request)
    found = await _look(request, name)
    if found.repository is None and found.creatable and actor.in_scope(name, "push"):
        hub = hub_of(request)
        return await hub.db.write(repositories.create, name, private=hub.config.private_by_default)
    if found.repository is not None and _allowed(actor, found, name, "push"):
        return found.repository
    raise _refusal(request, name, "push", found)


async def may_pull(request: web.Request, name: str) -> Repository | None:
    """The repository ``name`` if the actor may pull from it (mounts); raises nothing."""
    found = await _look(request, name)
    if found.repository is None or found.role < Role.READ:
        return None
    actor = actor_of(request)
    public = not found.repository.private
    return found.repository if public or actor.in_scope(name, "pull") else None


async def may_know(request: web.Request, name: str) -> bool:
    """Whether the actor could make the missing repository, so that it may look empty."""
    return (await _look(request, name)).creatable


async def _look(request: web.Request, name: str) -> Look:
    hub = hub_of(request)
    return await hub.db.read(look, actor_of(request), name, hub.config.anonymous_pull)


def _allowed(actor: Actor, found: Look, name: str, action: str) -> bool:
    if found.role < ACTION_ROLES[action]:
        return False
    assert found.repository is not None
    # Tokens need not name what everybody may read.
    return (action == "pull" and not found.repository.private) or actor.in_scope(name, action)


def _refusal(request: web.Request, name: str, action: str, found: Look) -> RegistryError:
    actor = actor_of(request)
    needed = ACTION_ROLES[action]
    has_role = found.role >= needed or (found.creatable and action == "push")
    if actor.anonymous and not actor.admin:
        return challenge(request, name, _wanted(request, action))
    if has_role and actor.scopes is not None:
        return challenge(request, name, action, error="insufficient_scope")
    if action == "pull" or (found.role < Role.READ and action == "delete"):
        return name_unknown(name)
    return denied(f"requested access to {name} is denied")


def _wanted(request: web.Request, action: str) -> str:
    """The action that a client should ask a token for when it is about to do ``action``."""
    # Who asks whether a blob is there is about to push; some clients keep their first token.
    looks = request.method == "HEAD" and "digest" in request.match_info
    return "push" if looks else action


def renewal(request: web.Request) -> RegistryError:
    """The challenge for credentials that are not good (any more).

    It names the scope that the request needs, because clients ask for what the challenge says.
    """
    try:
        name = requested_name(request) if "name" in request.match_info else ""
    except RegistryError:
        name = ""
    action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "push")
    if "upload" in request.match_info:
        action = "push"
    catalog = request.path == CATALOG_PATH
    return challenge(request, name, _wanted(request, action), "invalid_token", catalog=catalog)


def challenge(
    request: web.Request,
    name: str = "",
    action: str = "pull",
    error: str = "",
    *,
    catalog: bool = False,
) -> RegistryError:
    """401 with the header that sends clients to the token endpoint (token authentication spec)."""
    parts = [f'Bearer realm="{base_url(request)}/token"', f'service="{SERVICE}"']
    if name:
        actions = {"pull": "pull", "push": "pull,push", "delete": "delete"}[action]
        parts.append(f'scope="repository:{name}:{actions}"')
    if catalog:
        parts.append(f'scope="{CATALOG}:*"')
    if error:
        parts.append(f'error="{error}"')
    refusal = unauthorized()
    refusal.headers["WWW-Authenticate"] = ",".join(parts)
    return refusal
