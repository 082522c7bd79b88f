"""The pids controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.linux.cgroups.files import Reader, Setting, number

NAME = "pids"


@dataclass(frozen=True, slots=True)
class PidsStats:
    """Tasks now, and the limit (0: none)."""

    current: int = 0
    limit: int = 0


def settings(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources``, the same on v1 and v2."""
    limit = (resources.get("pids") or {}).get("limit")
    if not limit:
        return []
    return [Setting("pids.max", str(limit) if limit > 0 else "max")]


def stats(read: Reader) -> PidsStats:
    """Counters, the same on v1 and v2."""
    return PidsStats(number(read("pids.current")), number(read("pids.max")))
