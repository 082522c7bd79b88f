"""What a client asks the builder to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from wherry.builder.backend import Credentials, Resources
from wherry.builder.imagecache import CacheTarget
from wherry.builder.trees import Tree
from wherry.images.platforms import Platform

Secrets = Callable[[str], Awaitable[bytes | None]]
"""The id of a secret → its value, or None."""
Agents = Callable[[str, str, AsyncExitStack], Awaitable[bool]]
"""(id, path, resources): have the SSH agent of that id answer at a socket that is made at
``path`` and served until ``resources`` close; False when there is no such agent."""
ContextTree = Callable[[], Awaitable[Tree]]
"""Fetches the files of a named context; called once at most."""


async def no_credentials(domain: str) -> Mapping[str, Any] | None:
    """Log in nowhere."""
    return None


async def no_agents(name: str, path: str, resources: AsyncExitStack) -> bool:
    """No SSH agent."""
    return False


def credentials_in(auth: Mapping[str, Any]) -> Credentials:
    """Those of an ``X-Registry-Config``; Docker Hub's entry has an address of its own."""

    async def find(domain: str) -> Mapping[str, Any] | None:
        names = [domain, f"https://{domain}", f"https://{domain}/", f"https://{domain}/v1/"]
        if domain == "docker.io":
            names += ["https://index.docker.io/v1/", "index.docker.io"]
        return next((auth[name] for name in names if isinstance(auth.get(name), Mapping)), None)

    return find


def secrets_in(values: Mapping[str, bytes]) -> Secrets:
    """Secrets whose values are known from the beginning."""

    async def find(name: str) -> bytes | None:
        return values.get(name)

    return find


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build. ``arguments`` are ``--build-arg`` values; None means declared without a value.

    ``contexts`` are named contexts by address, ``context_trees`` those whose files the client
    has; ``epoch`` is SOURCE_DATE_EPOCH in seconds. ``check`` only runs the lint rules.
    ``cache_from`` are images, ``cache_pulled`` those of them to fetch when they are not here.
    """

    dockerfile: str = ""
    tags: tuple[str, ...] = ()
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: Platform | None = None
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    pull: bool = False
    quiet: bool = False
    squash: bool = False
    network: str = "default"
    cache_from: tuple[str, ...] = ()
    cache_pulled: tuple[str, ...] = ()
    cache_to: tuple[CacheTarget, ...] = ()
    contexts: Mapping[str, str] = field(default_factory=dict)
    context_trees: Mapping[str, ContextTree] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=lambda: secrets_in({}))
    agents: Agents = no_agents
    resources: Resources = field(default_factory=Resources)
    credentials: Credentials = no_credentials
    epoch: int | None = None
    explain: bool = False
    check: bool = False
    allow_insecure: bool = False
    allow_host_network: bool = False
