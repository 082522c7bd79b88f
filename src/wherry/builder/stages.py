"""The graph of stages: which a target needs, and what each takes from others.

A reference to a stage is a name (case does not matter) or an index; anything else is an image
or a named context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wherry.builder.dockerfile import Dockerfile, Stage
from wherry.builder.errors import DockerfileError, SyntaxProblem, suggestion
from wherry.builder.instructions import Copy, Run
from wherry.builder.instructions.mounts import mount_source_name
from wherry.builder.scope import stage_base
from wherry.golang import quote
from wherry.numbers import whole_number


@dataclass(frozen=True, slots=True)
class Link:
    """Where files come from: a stage by index, or an image or context by name."""

    stage: int | None
    name: str


@dataclass(frozen=True, slots=True)
class StageNode:
    """A stage with its references resolved; ``needs`` are indexes of other stages."""

    stage: Stage
    base: Link
    needs: frozenset[int]


@dataclass(frozen=True, slots=True)
class Graph:
    """All stages of a file; ``order`` are the needed ones, each after what it needs."""

    nodes: tuple[StageNode, ...]
    target: int
    order: tuple[int, ...]


def link(dockerfile: Dockerfile, name: str, before: int, line: int) -> Link:
    """Resolve ``name`` as used in stage ``before``.

    Raises DockerfileError for the stage itself, for a later one and for an index out of range.
    """
    lower = name.lower()
    # The last stage of that name that is already complete wins.
    for stage in reversed(dockerfile.stages[:before]):
        if stage.origin.name and stage.origin.name == lower:
            return Link(stage.index, lower)
    index = whole_number(lower)
    if index is not None:
        if index < before:
            return Link(index, lower)
        problem = "refers to current build stage" if index == before else "index out of bounds"
        raise DockerfileError(f"invalid from flag value {name}: {problem}", line, dockerfile.file)
    for stage in dockerfile.stages[before:]:
        if stage.origin.name == lower:
            if stage.index == before:
                problem = f"circular dependency detected on stage: {lower}"
            else:
                problem = (
                    f"cannot copy from stage {quote(lower)}, it needs to be defined before"
                    f" current stage {quote(dockerfile.stages[before].name)}"
                )
            raise DockerfileError(problem, line, dockerfile.file)
    return Link(None, name)


def find_target(dockerfile: Dockerfile, target: str) -> int:
    """The index of the stage to build; the last one when ``target`` is empty."""
    if not dockerfile.stages:
        raise DockerfileError("file with no instructions", file=dockerfile.file)
    if not target:
        return len(dockerfile.stages) - 1
    lower = target.lower()
    for stage in reversed(dockerfile.stages):
        if stage.origin.name == lower:
            return stage.index
    index = whole_number(lower)
    if index is not None and index < len(dockerfile.stages):
        return index
    names = [stage.origin.name for stage in dockerfile.stages if stage.origin.name]
    raise DockerfileError(
        f"target stage {quote(target)} could not be found{suggestion(target, names)}",
        file=dockerfile.file,
    )


def build_graph(dockerfile: Dockerfile, target: str, arguments: Mapping[str, str]) -> Graph:
    """Resolve all references and choose what ``target`` needs. Raises DockerfileError."""
    escape = dockerfile.directives.escape
    nodes: list[StageNode] = []
    for stage in dockerfile.stages:
        try:
            base_name = stage_base(stage.origin.base, arguments, escape)
        except SyntaxProblem as problem:
            raise DockerfileError(
                str(problem), stage.origin.origin.start, dockerfile.file
            ) from None
        base = _base(dockerfile, base_name, stage.index)
        needs = {base.stage} if base.stage is not None else set()
        for instruction in stage.instructions:
            for name in sources_of(instruction):
                found = link(dockerfile, name, stage.index, instruction.origin.start)
                if found.stage is not None:
                    needs.add(found.stage)
        nodes.append(StageNode(stage, base, frozenset(needs)))
    index = find_target(dockerfile, target)
    return Graph(tuple(nodes), index, _order(nodes, index))


def sources_of(instruction: object) -> tuple[str, ...]:
    """The names from which ``instruction`` takes files (``--from``, ``--mount=…,from=``)."""
    if isinstance(instruction, Copy):
        return (instruction.source_name,) if instruction.source_name else ()
    if isinstance(instruction, Run):
        return tuple(filter(None, map(mount_source_name, instruction.mounts)))
    return ()


def _base(dockerfile: Dockerfile, name: str, before: int) -> Link:
    lower = name.lower()
    for stage in reversed(dockerfile.stages[:before]):
        if stage.origin.name and stage.origin.name == lower:
            return Link(stage.index, lower)
    return Link(None, name)


def _order(nodes: list[StageNode], target: int) -> tuple[int, ...]:
    """References only point backwards, so the file's own order is a valid one."""
    needed: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting.extend(nodes[index].needs)
    return tuple(sorted(needed))
