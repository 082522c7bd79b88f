"""What differs between two images. No I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from typing import Any

from wherry.hub.records.images import LayerView

_Key = tuple[str, str]
_Chain = tuple[int, int, Any]


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
    steps = _steps(before["layers"], after["layers"])
    return Difference(
        steps=steps,
        shared=_size(steps, "="),
        removed=_size(steps, "-"),
        added=_size(steps, "+"),
        settings=_settings(before["settings"], after["settings"]),
    )


def _steps(old: list[LayerView], new: list[LayerView]) -> list[Step]:
    """One list of both images' layers, the kept ones where both have them."""
    steps: list[Step] = []
    done_old = done_new = 0
    for at_old, at_new in [*_kept(old, new), (len(old), len(new))]:
        steps += [Step("-", layer) for layer in old[done_old:at_old]]
        steps += [Step("+", layer) for layer in new[done_new:at_new]]
        steps += [Step("=", layer) for layer in new[at_new : at_new + 1]]
        done_old, done_new = at_old + 1, at_new + 1
    return steps


def _kept(old: list[LayerView], new: list[LayerView]) -> list[tuple[int, int]]:
    """Positions of layers that both images have, in an order that both have.

    Images are equal up to somewhere, and often from somewhere on. Between, layers that occur once
    in each image are the landmarks (patience diff), so that equal layers by the thousand, which an
    image can have, cost no more than others: n log n steps.
    """
    a, b = [_identity(layer) for layer in old], [_identity(layer) for layer in new]
    begin, least = 0, min(len(a), len(b))
    while begin < least and a[begin] == b[begin]:
        begin += 1
    end = 0
    while end < least - begin and a[-1 - end] == b[-1 - end]:
        end += 1
    middle = _landmarks(a[begin : len(a) - end], b[begin : len(b) - end])
    return [
        *((position, position) for position in range(begin)),
        *((begin + i, begin + j) for i, j in middle),
        *((len(a) - rest, len(b) - rest) for rest in range(end, 0, -1)),
    ]


def _identity(layer: LayerView) -> tuple[str, str]:
    return layer.digest, layer.command


def _landmarks(a: list[_Key], b: list[_Key]) -> list[tuple[int, int]]:
    """The longest chain of pairs that are unique on both sides and ascend on both."""
    single_a, single_b = Counter(a), {key: position for position, key in enumerate(b)}
    count_b = Counter(b)
    ends: list[int] = []  # the smallest end, in b, of a chain of each length
    chains: list[_Chain] = []
    for i, key in enumerate(a):
        if single_a[key] != 1 or count_b[key] != 1:
            continue
        j = single_b[key]
        length = bisect_left(ends, j)
        chain = (i, j, chains[length - 1] if length else None)
        ends[length : length + 1] = [j]
        chains[length : length + 1] = [chain]
    found = []
    last = chains[-1] if chains else None
    while last is not None:
        found.append((last[0], last[1]))
        last = last[2]
    return found[::-1]


def _size(steps: list[Step], sign: str) -> int:
    return sum(step.layer.size for step in steps if step.sign == sign)


def _settings(old: list[tuple[str, str]], new: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Settings that are only in one of the images, as (sign, name, value)."""
    before, after = set(old), set(new)
    changes = [("-", name, value) for name, value in old if (name, value) not in after]
    changes += [("+", name, value) for name, value in new if (name, value) not in before]
    return sorted(changes, key=lambda change: (change[1], change[0] == "+"))
