"""Filters as requests carry them."""

from __future__ import annotations

import json


def encode(filters: dict[str, list[str]]) -> str | None:
    """Filters of ``--filter`` as the API's JSON; None when there are none."""
    if not filters:
        return None
    table = {name: dict.fromkeys(values, True) for name, values in sorted(filters.items())}
    return json.dumps(table, separators=(",", ":"))


def with_config(filters: dict[str, list[str]], configured: list[str]) -> dict[str, list[str]]:
    """Filters together with those of the configuration file (``pruneFilters``)."""
    merged = {name: list(values) for name, values in filters.items()}
    for entry in configured:
        name, _, value = entry.partition("=")
        opposite = name.removesuffix("!") if name.endswith("!") else f"{name}!"
        if value not in merged.get(name, []) and value not in merged.get(opposite, []):
            merged.setdefault(name, []).append(value)
    return merged
