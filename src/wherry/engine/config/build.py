# ruff: noqa: RUF009 (api() makes a dataclass field)
"""What ``POST /build`` carries as JSON in its query."""

from __future__ import annotations

from dataclasses import dataclass

from wherry.engine.config.codec import TEXT, TEXT_MAP, api


@dataclass(frozen=True, slots=True)
class BuildOutput:
    """Where the result of a build goes."""

    type: str = api("Type", TEXT)
    attrs: dict[str, str] | None = api("Attrs", TEXT_MAP)
