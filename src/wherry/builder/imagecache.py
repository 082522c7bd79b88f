"""Images that carry build steps to other builds and machines: ``--cache-from``, ``--cache-to``.

Any image is a source of the steps that its history tells: a step is the same when all before it
is and the history says the same of it, contents of files included (a digest stands for them).
A *cache image* also brings steps of stages that are in no image: their layers are its layers,
and a label holds the keys. Both travel by push and pull, save and load, as images do.
Who names a source trusts it: its layers are taken for the results of commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.builder.backend import BaseImage
from wherry.builder.cache import Step
from wherry.builder.state import StageState
from wherry.errors import InvalidParameter
from wherry.images.platforms import Platform

LABEL = "io.wherry.builder.cache"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class CacheTarget:
    """Where the steps of a build go: ``mode`` "max" for all, "min" for those of the image."""

    reference: str
    push: bool = True
    everything: bool = False


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A step found in an image: its line of history, and its layer if it made one."""

    line: Mapping[str, Any]
    layer: str


def parse_target(given: Mapping[str, str]) -> CacheTarget | None:
    """One ``--cache-to`` as its options; None for inline, which every image is anyhow.

    Raises InvalidParameter.
    """
    kind, mode = given.get("type", "registry"), given.get("mode", "min")
    if kind == "inline":
        return None
    if kind not in ("registry", "image"):
        raise InvalidParameter(f"unknown cache exporter: {kind!r}")
    if mode not in ("min", "max"):
        raise InvalidParameter(f"invalid mode of a cache: {mode!r}: it is min or max")
    if not given.get("ref"):
        raise InvalidParameter(f"the cache exporter {kind} requires ref")
    return CacheTarget(given["ref"], kind == "registry", mode == "max")


def find_step(
    images: Iterable[BaseImage], state: StageState, created_by: str, *, layered: bool
) -> HistoryStep | None:
    """The step after ``state`` that is ``created_by`` and, when ``layered``, made a layer."""
    done, below = len(state.history), len(state.layers)
    for image in images:
        history: Sequence[Mapping[str, Any]] = image.config.get("history") or ()
        if len(history) <= done or image.layers[:below] != state.layers:
            continue
        line = history[done]
        if line.get("created_by") != created_by or bool(line.get("empty_layer")) == layered:
            continue
        if tuple(history[:done]) != state.history or (layered and len(image.layers) <= below):
            continue
        return HistoryStep(line, image.layers[below] if layered else "")
    return None


def cache_image(steps: Sequence[Step], platform: Platform, created: str) -> bytes:
    """The configuration of an image that carries ``steps``."""
    layers = list(dict.fromkeys(step.layer for step in steps if step.layer))
    told = {step.layer: step.description for step in steps if step.layer}
    carried = [
        {
            "key": step.key,
            "kind": step.kind,
            "layer": step.layer,
            "created": step.created,
            "size": step.size,
            "seconds": round(step.seconds, 3),
            "description": step.description,
        }
        for step in steps
    ]
    value = {
        "architecture": platform.architecture,
        "os": platform.os,
        "created": created,
        "config": {"Labels": {LABEL: json.dumps({"version": _VERSION, "steps": carried})}},
        "history": [{"created": created, "created_by": told[layer]} for layer in layers],
        "rootfs": {"type": "layers", "diff_ids": layers},
    }
    return json.dumps(value, separators=(",", ":")).encode()


def carried_steps(image: BaseImage) -> list[Step]:
    """The steps of a cache image; none of other images.

    Whatever the label holds, only layers of the image itself are named.
    """
    labels = (image.config.get("config") or {}).get("Labels") or {}
    try:
        value = json.loads(labels.get(LABEL) or "{}")
        found = [_step(given) for given in value.get("steps", ())]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    known = {"", *image.layers}
    return [step for step in found if step.layer in known and value["version"] == _VERSION]


def _step(given: Mapping[str, Any]) -> Step:
    return Step(
        key=str(given["key"]),
        kind=str(given["kind"]),
        layer=str(given["layer"]),
        created=str(given["created"]),
        used=0.0,
        uses=0,
        size=int(given["size"]),
        seconds=float(given["seconds"]),
        description=str(given["description"]),
        facts={},
    )
