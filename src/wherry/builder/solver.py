"""A build from parsed file to image: stages as tasks, steps in order, the result at the end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from wherry.builder import cacheimages, fetch, imageconfig, squash
from wherry.builder.backend import Backend, BaseImage
from wherry.builder.cache import StepCache
from wherry.builder.cachemounts import CacheMounts
from wherry.builder.copystep import copy_step, workdir_step
from wherry.builder.dockerfile import Dockerfile, parse_triggers
from wherry.builder.errors import DockerfileError, SyntaxProblem
from wherry.builder.instructions import Add, Copy, Instruction, Run, Workdir
from wherry.builder.job import Job, Place
from wherry.builder.progress import Lane, Output, Title
from wherry.builder.request import BuildRequest, ContextTree
from wherry.builder.runstep import run_step
from wherry.builder.scope import BUILTIN, PREDEFINED, Scope, global_scope
from wherry.builder.stages import Graph, StageNode, build_graph, link
from wherry.builder.state import StageState, change
from wherry.builder.trees import Tree
from wherry.builder.words import Expander
from wherry.errors import InvalidParameter
from wherry.images.platforms import Platform, parse_platform, this_platform

_COMMANDS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Solved:
    """What all steps led to; not an image of the store yet.

    ``image`` is the id that it will have, ``base`` the image that the last stage began with.
    """

    image: str
    base: str
    config: bytes
    layers: tuple[str, ...]


@asynccontextmanager
async def solve(
    backend: Backend,
    cache: StepCache,
    mounts: CacheMounts,
    request: BuildRequest,
    dockerfile: Dockerfile,
    context: Tree,
    output: Output,
) -> AsyncIterator[Solved]:
    """Take all steps; the layers are protected while the context lasts.

    Raises DockerfileError, CommandFailed, CopyError and what the backend does. When it fails or
    is cancelled, only cached steps remain.
    """
    async with AsyncExitStack() as resources:
        protect = resources.enter_context(backend.lease())
        run = _Build(backend, request, dockerfile, output)

        async def find_source(name: str, stage: int, line: int) -> Tree:
            return await run.source(name, stage, line)

        run.job = Job(
            backend, cache, mounts, request, context, output, protect, resources, find_source
        )
        try:
            solved = await run.execute()
        finally:
            if run.job.used or run.job.states:
                await asyncio.to_thread(cache.note, run.job.used, run.job.states)
        yield solved


class _Build:
    job: Job

    def __init__(
        self, backend: Backend, request: BuildRequest, dockerfile: Dockerfile, output: Output
    ) -> None:
        self._backend = backend
        self._request = request
        self._dockerfile = dockerfile
        self._output = output
        self._platform = request.platform or this_platform()
        self._escape = dockerfile.directives.escape
        self._globals = self._global_arguments()
        self._graph: Graph = build_graph(dockerfile, request.target, self._globals)
        self._tasks: dict[int, asyncio.Task[StageState]] = {}
        self._running = asyncio.Semaphore(_COMMANDS_AT_ONCE)
        self._images: dict[tuple[str, str], asyncio.Task[BaseImage]] = {}
        self._contexts: dict[str, asyncio.Future[Tree]] = {}
        self._numbers = self._numbered()
        self._layered: dict[int, dict[int, int]] = {}

    def _global_arguments(self) -> Mapping[str, str]:
        target = self._request.target or "default"
        try:
            return global_scope(
                self._dockerfile.global_args,
                self._request.arguments,
                this_platform(),
                self._platform,
                self._escape,
                target,
            )
        except SyntaxProblem as problem:
            line = self._dockerfile.global_args[0].origin.start
            raise DockerfileError(str(problem), line, self._dockerfile.file) from None

    def _numbered(self) -> dict[int, int]:
        """The number of the first step of each stage that is built."""
        numbers: dict[int, int] = {}
        number = len(self._dockerfile.global_args) + 1
        for index in self._graph.order:
            numbers[index] = number
            number += 1 + len(self._graph.nodes[index].stage.instructions)
        self._total = number - 1 + len(self._request.labels)
        return numbers

    async def execute(self) -> Solved:
        """Run all stages that are needed."""
        await cacheimages.take_in(self.job)
        for number, argument in enumerate(self._dockerfile.global_args, start=1):
            self._output.text(f"Step {number}/{self._total} : {argument.origin.text}")
            self._output.text("\n")
        for index in self._graph.order:
            lane = self._output.lane()
            coroutine = self._stage(self._graph.nodes[index], lane)
            self._tasks[index] = asyncio.create_task(coroutine)
        try:
            await asyncio.gather(*self._tasks.values())
        except BaseException:
            tasks: list[asyncio.Future[Any]] = [
                *self._tasks.values(),
                *self._images.values(),
                *self._contexts.values(),
            ]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        state = self._tasks[self._graph.target].result()
        if self._request.squash:
            state = await squash.squashed(self.job, state)
        self.job.states.pop(self._current_id(state), None)  # it will be an image anyhow
        self._warn_of_unused_arguments()
        for target in self._request.cache_to:
            await cacheimages.send(self.job, target, self._chain(), state)
        return Solved(self._current_id(state), state.base, state.image_config(), state.layers)

    def _chain(self) -> set[int]:
        """The stages that the target was built on, itself included."""
        chain: set[int] = set()
        index: int | None = self._graph.target
        while index is not None:
            chain.add(index)
            index = self._graph.nodes[index].base.stage
        return chain

    def _told(self, state: StageState) -> str:
        """The id of the image so far, which the client may ask for afterwards."""
        if state.base and not state.changed:
            return state.base
        config = state.image_config()
        image = f"sha256:{hashlib.sha256(config).hexdigest()}"
        self.job.keep(image, config)
        return image

    def _current_id(self, state: StageState) -> str:
        """The id of the image so far; the base's own while nothing was added to it."""
        if state.base and not state.changed:
            return state.base
        return state.image_id()

    def _warn_of_unused_arguments(self) -> None:
        declared = {
            name
            for stage in self._dockerfile.stages
            for instruction in stage.instructions
            if instruction.NAME == "ARG"
            for name, _ in getattr(instruction, "declarations", ())
        }
        declared |= {
            name for argument in self._dockerfile.global_args for name, _ in argument.declarations
        }
        unused = sorted(self._request.arguments.keys() - declared - PREDEFINED - BUILTIN)
        if unused:
            self._output.text(
                f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n"
            )

    # Stages ------------------------------------------------------------------------------

    async def _stage(self, node: StageNode, lane: Lane) -> StageState:
        try:
            lane.step(self._title(node, 0, node.stage.origin))
            state = await self._base(node, lane)
            if not state.triggers:
                lane.result(self._current_id(state) if state.base or state.history else "")
            usable = self._cache_usable(node)
            state = await self._triggers(node, state, lane, usable)
            for ordinal, instruction in enumerate(node.stage.instructions, start=1):
                await asyncio.sleep(0)  # not all steps have something to wait for
                lane.step(self._title(node, ordinal, instruction))
                place = self._place(node, str(ordinal), instruction, usable)
                state = await self._located(state, instruction, lane, place)
                lane.result(self._told(state))
            if node.stage.index == self._graph.target and self._request.labels:
                state = await self._final_labels(node, state, lane, usable)
            return state
        except BaseException as error:
            lane.failed(error)
            raise
        finally:
            lane.finish()

    def _title(self, node: StageNode, ordinal: int, instruction: Instruction) -> Title:
        """What is said of an instruction of a stage; 0 is its FROM."""
        index = node.stage.index
        layered = self._layered.get(index)
        if layered is None:
            layered = self._layered[index] = _layered(node.stage.instructions)
        return Title(
            self._numbers[index] + ordinal,
            self._total,
            instruction.origin.text,
            node.stage.name if len(self._dockerfile.stages) > 1 else "",
            layered.get(ordinal, 0),
            len(layered),
            instruction.origin.start,
        )

    def _place(
        self, node: StageNode, ordinal: str, instruction: Instruction, usable: bool
    ) -> Place:
        if self._request.tags:
            name = f"{self._request.tags[0]}|{node.stage.name}|{ordinal}"
        else:  # nothing tells which build this is: compare with the same words elsewhere
            name = f"|{instruction.origin.text}"
        return Place(name, node.stage.index, instruction.origin.start, usable)

    def _cache_usable(self, node: StageNode) -> bool:
        names = {name.lower() for name in self._request.no_cache_stages}
        return not self._request.no_cache and node.stage.name not in names

    async def _base(self, node: StageNode, lane: Lane) -> StageState:
        scope = Scope(self._request.arguments, self._globals, self._escape)
        platform = self._stage_platform(node)
        if node.base.stage is not None:
            below = await self._tasks[node.base.stage]
            triggers = tuple(below.config.get("OnBuild") or ())
            fresh = scope.with_env(imageconfig.environment_of(below.config))
            state = replace(below, scope=fresh, command_set=False, triggers=triggers)
            return state.with_config(OnBuild=None) if triggers else state
        if node.base.name == "scratch":
            return StageState.empty(scope, platform)
        if node.base.name.startswith(("scratch:", "scratch@")):
            line = node.stage.origin.origin.start
            raise DockerfileError("'scratch' is a reserved name", line, self._dockerfile.file)
        image = await self._image_named(node.base.name, platform, lane.emit)
        return StageState.on_image(image, scope, platform)

    def _stage_platform(self, node: StageNode) -> Platform:
        text = node.stage.origin.platform
        if not text:
            return self._platform
        try:
            return parse_platform(Expander(self._globals, self._escape).word(text))
        except (SyntaxProblem, InvalidParameter) as problem:
            line = node.stage.origin.origin.start
            raise DockerfileError(
                f"failed to parse platform {text}: {problem}", line, self._dockerfile.file
            ) from None

    async def _triggers(
        self, node: StageNode, state: StageState, lane: Lane, usable: bool
    ) -> StageState:
        if not state.triggers:
            return state
        count = len(state.triggers)
        lane.text(f"# Executing {count} build trigger{'' if count == 1 else 's'}\n")
        triggers = parse_triggers(state.triggers, self._dockerfile.file)
        state = replace(state, triggers=())
        for ordinal, instruction in enumerate(triggers, start=1):
            place = self._place(node, f"trigger {ordinal}", instruction, usable)
            state = await self._located(state, instruction, lane, place)
            lane.result(self._told(state))
        return state

    async def _final_labels(
        self, node: StageNode, state: StageState, lane: Lane, usable: bool
    ) -> StageState:
        """``--label``: one step for each, at the end."""
        labels = sorted(self._request.labels.items())
        for number, (name, value) in enumerate(labels, self._total - len(labels) + 1):
            text = f"LABEL {name}={value}"
            lane.step(Title(number, self._total, text))
            changed = replace(state, config=imageconfig.with_labels(state.config, {name: value}))
            facts = {
                "step": "LABEL",
                "instruction": text,
                "value": text,
                "parent": self._current_id(state),
            }
            place = Place(f"{node.stage.name}|label {name}", node.stage.index, 0, usable)
            created_by = imageconfig.history_command(imageconfig.shell_of(state.config), text)
            state = await self.job.step(changed, lane, place, facts, created_by, None)
            lane.result(self._told(state))
        return state

    # Steps -------------------------------------------------------------------------------

    async def _located(
        self, state: StageState, instruction: Instruction, lane: Lane, place: Place
    ) -> StageState:
        try:
            return await self._step(state, instruction, lane, place)
        except SyntaxProblem as problem:
            raise DockerfileError(
                str(problem), instruction.origin.start, self._dockerfile.file
            ) from None

    async def _step(
        self, state: StageState, instruction: Instruction, lane: Lane, place: Place
    ) -> StageState:
        match instruction:
            case Run():
                async with self._running:
                    return await run_step(self.job, state, instruction, lane, place)
            case Copy() | Add():
                return await copy_step(self.job, state, instruction, lane, place)
            case Workdir():
                return await workdir_step(self.job, state, instruction, lane, place)
        changed = change(state, instruction)
        facts = {
            "step": instruction.NAME,
            "instruction": instruction.origin.text,
            "value": changed.text,
            "parent": self._current_id(state),
        }
        shell = imageconfig.shell_of(changed.state.config)
        created_by = imageconfig.history_command(shell, changed.text)
        return await self.job.step(changed.state, lane, place, facts, created_by, None)

    # Sources -----------------------------------------------------------------------------

    async def source(self, name: str, stage: int, line: int) -> Tree:
        """The files of a stage, a named context or an image."""
        found = link(self._dockerfile, name, stage, line)
        if found.stage is not None:
            state = await self._tasks[found.stage]
            return self._backend.tree(state.layers)
        if (fetch_tree := self._request.context_trees.get(name.lower())) is not None:
            return await self._context_tree(name.lower(), fetch_tree)
        context = self._request.contexts.get(name.lower())
        if context is not None and fetch.is_remote(context):
            return await fetch.git_tree(context, self._backend.directory, self.job.resources)
        image = await self._image_named(found.name, self._platform, self._output.emit)
        return self._backend.tree(image.layers)

    async def _context_tree(self, name: str, fetch_tree: ContextTree) -> Tree:
        """A named context of the client, fetched once however many steps want it."""
        if name not in self._contexts:
            self._contexts[name] = asyncio.ensure_future(fetch_tree())
        return await asyncio.shield(self._contexts[name])

    async def _image_named(
        self, name: str, platform: Platform, emit: Callable[[Mapping[str, Any]], None]
    ) -> BaseImage:
        """An image, fetched once however many stages want it."""
        name = _image_context(self._request.contexts.get(name.lower()), name)
        key = (name, str(platform))
        if key not in self._images:
            wanted = platform if self._request.platform or platform != self._platform else None
            self._images[key] = asyncio.create_task(
                self._backend.base_image(
                    name,
                    wanted,
                    pull=self._request.pull,
                    emit=emit,
                    credentials=self._request.credentials,
                )
            )
        image = await asyncio.shield(self._images[key])
        for layer in image.layers:
            self.job.protect(layer)
        return image


def _layered(instructions: Sequence[Instruction]) -> dict[int, int]:
    """The instructions of a stage that make layers, and FROM (0): their numbers from 1 on."""
    found = [0] + [
        number
        for number, one in enumerate(instructions, start=1)
        if isinstance(one, (Run, Copy, Add, Workdir))
    ]
    return {ordinal: number for number, ordinal in enumerate(found, start=1)}


def _image_context(context: str | None, name: str) -> str:
    prefix = "docker-image://"
    return context[len(prefix) :] if context and context.startswith(prefix) else name
