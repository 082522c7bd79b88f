"""The repository of a page, for those who may see it; everybody else gets the same 404."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from wherry.errors import Forbidden, NotFound
from wherry.hub.access import Role
from wherry.hub.distribution.errors import RegistryError
from wherry.hub.distribution.names import repository_name
from wherry.hub.hub import hub_of
from wherry.hub.records.repositories import Repository
from wherry.hub.registry.authorize import look
from wherry.hub.requests import actor_of


@dataclass(frozen=True)
class Seen:
    """A repository and what the visitor may do with it."""

    repository: Repository
    role: Role

    @property
    def may_administer(self) -> bool:
        """Whether the settings are open to the visitor."""
        return self.role >= Role.ADMIN


async def see(request: web.Request, needed: Role = Role.READ) -> Seen:
    """The page's repository. Raises NotFound, or Forbidden when it may be seen but not more."""
    hub = hub_of(request)
    try:
        name = repository_name(request.match_info["name"])
    except RegistryError:
        raise NotFound("no such repository") from None
    found = await hub.db.read(look, actor_of(request), name, hub.config.anonymous_pull)
    if found.repository is None or found.role < Role.READ:
        raise NotFound("no such repository")
    if found.role < needed:
        raise Forbidden("your role on this repository does not allow that")
    return Seen(found.repository, found.role)


def url(name: str, rest: str = "") -> str:
    """The path of a repository's page; ``rest`` follows after ``/-/``."""
    return f"/r/{name}/-/{rest}" if rest else f"/r/{name}"
