"""What the steps of one build share."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from wherry.builder.backend import Backend, BaseImage
from wherry.builder.cache import StepCache, step_key
from wherry.builder.cachemounts import CacheMounts
from wherry.builder.imagecache import HistoryStep, find_step
from wherry.builder.progress import Lane, Output
from wherry.builder.request import BuildRequest
from wherry.builder.state import StageState
from wherry.builder.trees import Tree

SourceFinder = Callable[[str, int, int], Awaitable[Tree]]
"""(name, index of the stage that asks, line) → the files that ``--from=name`` means."""
_NANOSECONDS = 1_000_000_000

_MAX_STATES = 16 << 20  # bytes of configurations after steps that are kept of one build


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step stands: in which stage of which build, and which line it is."""

    name: str
    stage: int
    line: int
    cached: bool  # whether the cache may be used


@dataclass(frozen=True, slots=True)
class Made:
    """What a layer step made."""

    layer: str
    size: int = 0


@dataclass(eq=False)
class Job:
    """One build: its request, its context, where results come from and go to."""

    backend: Backend
    cache: StepCache
    mounts: CacheMounts
    request: BuildRequest
    context: Tree
    output: Output
    protect: Callable[[str], None]
    resources: AsyncExitStack
    find_source: SourceFinder
    images: list[BaseImage] = field(default_factory=list)  # sources of steps: --cache-from
    done: list[tuple[int, str]] = field(default_factory=list)  # (stage, key) of all steps
    states: dict[str, bytes] = field(default_factory=dict)  # configurations after steps, by id
    used: list[str] = field(default_factory=list)  # keys of steps that were cached
    _kept: int = 0  # bytes of these configurations
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def clamp(self) -> int | None:
        """The latest time that a file of a new layer may have, in nanoseconds."""
        epoch = self.request.epoch
        return None if epoch is None else epoch * _NANOSECONDS

    def now(self) -> str:
        """The time for new steps, as in image configurations."""
        if self.request.epoch is not None:
            moment = datetime.datetime.fromtimestamp(self.request.epoch, datetime.UTC)
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        nanoseconds = time.time_ns()
        moment = datetime.datetime.fromtimestamp(nanoseconds // _NANOSECONDS, datetime.UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % _NANOSECONDS:09d}Z"

    def keep(self, image: str, config: bytes) -> None:
        """Keep a configuration for those who ask by its id; the oldest go when they are many."""
        if image in self.states:
            return
        self.states[image] = config
        self._kept += len(config)
        while self._kept > _MAX_STATES and len(self.states) > 1:
            self._kept -= len(self.states.pop(next(iter(self.states))))

    def file_time(self) -> int:
        """The mtime of new directories, in nanoseconds."""
        return time.time_ns() if self.clamp is None else self.clamp

    async def step(
        self,
        state: StageState,
        lane: Lane,
        place: Place,
        facts: Mapping[str, Any],
        created_by: str,
        make: Callable[[], Awaitable[Made]] | None,
        *,
        told: bool = True,
    ) -> StageState:
        """Take a step from the cache or make it; without ``make`` it has no layer.

        ``told`` says that ``created_by`` tells all that its result depends on.
        """
        key = step_key(facts)
        self.done.append((place.stage, key))
        lane.ready()
        async with self._locks[key]:
            known = self.cache.find(key, self.backend.has_layer) if place.cached else None
            if known:
                self.used.append(key)
                if known.layer:
                    self.protect(known.layer)
                lane.cached()
                self._explain(lane, place, facts, True, [], known.seconds, known.size)
                return state.recorded(created_by, known.created, known.layer)
            if place.cached and told:
                layered = make is not None
                found = find_step(self.images, state, created_by, layered=layered)
                if found:
                    return self._taken(found, state, lane, place, facts, created_by)
            reasons = self.cache.explain(place.name, facts) if self.request.explain else []
            if not place.cached:
                reasons = ["the cache was not to be used"]
            began = time.monotonic()
            made = await make() if make else Made("")
            seconds = time.monotonic() - began
            created = self.now()
            self._remember(key, place, facts, created_by, created, made.layer, made.size, seconds)
            self._explain(lane, place, facts, False, reasons, seconds, made.size)
            return state.recorded(created_by, created, made.layer)

    def _taken(
        self,
        found: HistoryStep,
        state: StageState,
        lane: Lane,
        place: Place,
        facts: Mapping[str, Any],
        created_by: str,
    ) -> StageState:
        """Take a step from an image's history, and remember it like one that was made here."""
        size = self.backend.layer_size(found.layer) if found.layer else 0
        created = found.line.get("created") or ""
        self._remember(step_key(facts), place, facts, created_by, created, found.layer, size, 0.0)
        lane.cached()
        self._explain(lane, place, facts, True, [], 0.0, size)
        return state.continued(found.line, found.layer)

    def _remember(
        self,
        key: str,
        place: Place,
        facts: Mapping[str, Any],
        created_by: str,
        created: str,
        layer: str,
        size: int,
        seconds: float,
    ) -> None:
        if layer:
            self.protect(layer)
            self.backend.hold_layer(f"build:{key}", layer)
        self.cache.store(
            key,
            place.name,
            facts,
            kind="layer" if layer else "config",
            layer=layer,
            created=created,
            size=size,
            seconds=seconds,
            description=created_by,
        )

    def _explain(
        self,
        lane: Lane,
        place: Place,
        facts: Mapping[str, Any],
        cached: bool,
        reasons: list[str],
        seconds: float,
        size: int,
    ) -> None:
        if self.request.explain:
            facts_shown = {
                "line": place.line,
                "instruction": facts["instruction"],
                "cached": cached,
                "reasons": reasons,
                "seconds": round(seconds, 6),
                "size": size,
            }
            lane.emit({"aux": {"explain": facts_shown}})
            if not cached:
                lane.arrow(f"Not cached: {'; '.join(reasons)} ({seconds:.2f}s, {size} bytes)")


def layers_digest(layers: tuple[str, ...]) -> str:
    """What stands for a stack of layers in the facts of a step."""
    return step_key({"layers": layers})[:32]
