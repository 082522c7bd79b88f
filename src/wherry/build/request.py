"""What a client asks the builder to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.build.backend import Resources
from wherry.build.platforms import Platform


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build. ``arguments`` are ``--build-arg`` values; None means declared without a value.

    ``contexts`` are named contexts, ``secrets`` values by id, ``auth`` registry credentials by
    host, ``epoch`` SOURCE_DATE_EPOCH in seconds. ``check`` only runs the lint rules.
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
    contexts: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    auth: Mapping[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    explain: bool = False
    check: bool = False
    allow_insecure: bool = False
