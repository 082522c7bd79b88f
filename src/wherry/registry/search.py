"""``docker search``: the index of version 1, which hubs still answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from wherry.registry.credentials import ANONYMOUS, Credentials
from wherry.registry.failures import parse_answer
from wherry.registry.hosts import DOCKER_DOMAIN, DOCKER_INDEX, DOCKER_REGISTRY, RegistryOptions
from wherry.registry.repository import MAX_MANIFEST_BYTES
from wherry.registry.session import open_sessions

MAX_RESULTS = 100
DEFAULT_RESULTS = 25


@dataclass(frozen=True, slots=True)
class Found:
    """One repository that an index knows."""

    name: str
    description: str
    stars: int
    official: bool
    automated: bool

    def view(self) -> dict[str, Any]:
        """The shape of the Engine API."""
        return {
            "star_count": self.stars,
            "is_official": self.official,
            "name": self.name,
            "is_automated": self.automated,
            "description": self.description,
        }


def index_of(term: str, options: RegistryOptions) -> tuple[str, str]:
    """(domain, rest of the term): ``host/name`` asks that host, a plain name the default one."""
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    if options.default_registry == DOCKER_REGISTRY:
        return DOCKER_INDEX, term
    return options.default_registry, term


async def search(
    term: str,
    limit: int,
    options: RegistryOptions,
    credentials: Credentials = ANONYMOUS,
) -> list[Found]:
    """Ask the index for a term; raises Unavailable and others."""
    domain, words = index_of(term, options)
    query = urlencode({"q": words, "n": str(limit or DEFAULT_RESULTS)})
    what = f"search {domain} for {words!r}"
    async for session in open_sessions(domain, options, credentials, push=True):
        _, data = await session.document(f"/v1/search?{query}", MAX_MANIFEST_BYTES, what=what)
        answer = parse_answer(data, what)
        prefix = "" if domain in (DOCKER_INDEX, DOCKER_DOMAIN) else f"{domain}/"
        if domain == options.default_registry:
            prefix = ""
        return [_found(result, prefix) for result in answer.get("results") or []]
    return []


def _found(result: dict[str, Any], prefix: str) -> Found:
    return Found(
        name=prefix + str(result.get("name") or ""),
        description=str(result.get("description") or ""),
        stars=int(result.get("star_count") or 0),
        official=bool(result.get("is_official")),
        automated=bool(result.get("is_automated")),
    )
