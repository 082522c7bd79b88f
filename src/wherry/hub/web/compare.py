"""What differs between two images. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from wherry.hub.records.images import LayerView


@dataclass(frozen=True)
class Step:
    """One line of the comparison: kept ("="), removed ("-") or added ("+")."""

    sign: str
    layer: LayerView


@dataclass(frozen=True)
class Difference:
    """Layers and settings side by side."""

    steps: list[Step]
    shared: int
    removed: int
    added: int
    settings: list[tuple[str, str, str]]


def compare_images(before: dict[str, Any], after: dict[str, Any]) -> Difference:
    """The difference of two images as ``records.images.image`` describes them; sizes in bytes."""
    old: list[LayerView] = before["layers"]
    new: list[LayerView] = after["layers"]
    matcher = SequenceMatcher(
        a=[(layer.digest, layer.command) for layer in old],
        b=[(layer.digest, layer.command) for layer in new],
        autojunk=False,
    )
    steps: list[Step] = []
    for kind, a1, a2, b1, b2 in matcher.get_opcodes():
        if kind == "equal":
            steps += [Step("=", layer) for layer in new[b1:b2]]
        else:
            steps += [Step("-", layer) for layer in old[a1:a2]]
            steps += [Step("+", layer) for layer in new[b1:b2]]
    return Difference(
        steps=steps,
        shared=_size(steps, "="),
        removed=_size(steps, "-"),
        added=_size(steps, "+"),
        settings=_settings(before["settings"], after["settings"]),
    )


def _size(steps: list[Step], sign: str) -> int:
    return sum(step.layer.size for step in steps if step.sign == sign)


def _settings(old: list[tuple[str, str]], new: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Settings that are only in one of the images, as (sign, name, value)."""
    changes = [("-", name, value) for name, value in old if (name, value) not in new]
    changes += [("+", name, value) for name, value in new if (name, value) not in old]
    return sorted(changes, key=lambda change: (change[1], change[0] == "+"))
