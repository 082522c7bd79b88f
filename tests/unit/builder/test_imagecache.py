import json
from typing import Any

import pytest

from wherry.builder.backend import BaseImage
from wherry.builder.cache import Step, step_key
from wherry.builder.imagecache import (
    LABEL,
    CacheTarget,
    cache_image,
    carried_steps,
    find_step,
    parse_target,
)
from wherry.builder.scope import Scope
from wherry.builder.state import StageState
from wherry.errors import InvalidParameter
from wherry.images.platforms import Platform

PLATFORM = Platform("linux", "amd64", "")


def line(by: str, *, empty: bool = False) -> dict[str, Any]:
    return {"created": "2024-01-01T00:00:00Z", "created_by": by} | (
        {"empty_layer": True} if empty else {}
    )


BASE = BaseImage("sha256:base", {"history": [line("base")]}, ("base",))
IMAGE = BaseImage(
    "sha256:image",
    {"history": [line("base"), line("ENV a=b", empty=True), line("RUN x"), line("RUN y")]},
    ("base", "x", "y"),
)


def state(*steps: tuple[str, str]) -> StageState:
    current = StageState.on_image(BASE, Scope({}, {}, "\\"), PLATFORM)
    for created_by, layer in steps:
        current = current.continued(line(created_by, empty=not layer), layer)
    return current


@pytest.mark.parametrize(
    ("before", "created_by", "layered", "found"),
    [
        ((), "ENV a=b", False, ""),
        ((), "ENV a=c", False, None),  # other words
        ((), "ENV a=b", True, None),  # other kind of step
        ((), "RUN x", True, None),  # not the next one
        ((("ENV a=b", ""),), "RUN x", True, "x"),
        ((("ENV a=c", ""),), "RUN x", True, None),  # another step before
        ((("ENV a=b", ""), ("RUN x", "other")), "RUN y", True, None),  # another result before
        ((("ENV a=b", ""), ("RUN x", "x")), "RUN y", True, "y"),
        ((("ENV a=b", ""), ("RUN x", "x"), ("RUN y", "y")), "RUN z", True, None),  # the end
    ],
)
def test_a_step_is_found_after_equal_steps_only(
    before: tuple[tuple[str, str], ...], created_by: str, layered: bool, found: str | None
) -> None:
    step = find_step([IMAGE], state(*before), created_by, layered=layered)
    assert (step and step.layer) == found


def test_a_damaged_history_is_no_source() -> None:
    image = BaseImage("sha256:i", {"history": [line("base"), line("RUN x")]}, ("base",))
    assert find_step([image], state(), "RUN x", layered=True) is None


def step(key: str, layer: str) -> Step:
    return Step(key, "layer" if layer else "config", layer, "t", 0.0, 0, 3, 1.5, f"RUN {key}", {})


def carrier(config: bytes, layers: tuple[str, ...]) -> BaseImage:
    return BaseImage("sha256:c", json.loads(config), layers)


def test_a_cache_image_carries_steps_there_and_back() -> None:
    steps = [step("1", "a"), step("2", ""), step("3", "b"), step("4", "a")]
    config = cache_image(steps, PLATFORM, "t")
    assert json.loads(config)["rootfs"]["diff_ids"] == ["a", "b"]
    assert carried_steps(carrier(config, ("a", "b"))) == steps


def test_only_layers_of_the_image_itself_are_believed() -> None:
    config = cache_image([step("1", "a"), step("2", "b")], PLATFORM, "t")
    assert [found.key for found in carried_steps(carrier(config, ("a",)))] == ["1"]


@pytest.mark.parametrize(
    "label",
    ["", "x", "[]", "{}", '{"version": 2, "steps": []}', '{"version": 1, "steps": [{}]}',
     '{"version": 1, "steps": 7}', "[" * 5000, "null"],
)  # fmt: skip
def test_damaged_labels_carry_nothing(label: str) -> None:
    image = BaseImage("sha256:c", {"config": {"Labels": {LABEL: label}}}, ())
    assert carried_steps(image) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "inline"}, None),
        ({"ref": "r/x"}, CacheTarget("r/x")),
        ({"type": "registry", "ref": "x", "mode": "max"}, CacheTarget("x", True, True)),
        ({"type": "image", "ref": "x"}, CacheTarget("x", push=False)),
    ],
)
def test_targets(given: dict[str, str], expected: CacheTarget | None) -> None:
    assert parse_target(given) == expected


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"type": "gha"}, "unknown cache exporter"),
        ({"type": "registry"}, "requires ref"),
        ({"ref": "x", "mode": "all"}, "min or max"),
    ],
)
def test_bad_targets(given: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidParameter, match=problem):
        parse_target(given)


def test_how_an_instruction_was_written_is_in_no_key() -> None:
    facts = {"step": "RUN", "command": ["/bin/sh", "-c", "x"]}
    assert step_key(facts | {"instruction": "RUN x"}) == step_key(facts | {"instruction": "run x"})
    assert step_key(facts) != step_key(facts | {"command": ["x"]})
