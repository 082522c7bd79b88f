"""A whole Dockerfile: global arguments and stages of typed instructions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from wherry.builder.errors import DockerfileError, SyntaxProblem
from wherry.builder.instructions import Arg, From, Instruction, parse_instruction
from wherry.builder.lexer import Directives, LogicalLine, lex


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and all up to the next one; ``index`` counts from 0."""

    index: int
    origin: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name given with AS, in lower case, or the index as text."""
        return self.origin.name or str(self.index)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """What a parsed file holds; ``lines`` are kept for the lint rules."""

    directives: Directives
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    lines: tuple[LogicalLine, ...] = ()
    file: str = "Dockerfile"


def parse(content: bytes, file: str = "Dockerfile") -> Dockerfile:
    """Parse a file. Raises DockerfileError; nothing else for any input."""
    source = lex(content, file)
    escape = source.directives.escape
    global_args: list[Arg] = []
    stages: list[Stage] = []
    body: list[Instruction] = []
    for line in source.lines:
        instruction = _parse_line(line, escape, file)
        if isinstance(instruction, From):
            _close(stages, body)
            stages.append(Stage(len(stages), instruction, ()))
        elif stages:
            body.append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise DockerfileError("no build stage in current context", line.start, file)
    _close(stages, body)
    return Dockerfile(source.directives, tuple(global_args), tuple(stages), source.lines, file)


def parse_triggers(triggers: Iterable[str], file: str = "Dockerfile") -> list[Instruction]:
    """The instructions that an image's ONBUILD triggers (or ``--change``) hold."""
    instructions: list[Instruction] = []
    for trigger in triggers:
        for line in lex(trigger.encode("utf-8", "surrogateescape"), file).lines:
            if line.command.upper() in ("ONBUILD", "FROM", "MAINTAINER"):
                raise DockerfileError(
                    f"{line.command.upper()} isn't allowed as an ONBUILD trigger", file=file
                )
            instructions.append(_parse_line(line, "\\", file))
    return instructions


def _close(stages: list[Stage], body: list[Instruction]) -> None:
    if stages:
        stages[-1] = replace(stages[-1], instructions=tuple(body))
        body.clear()


def _parse_line(line: LogicalLine, escape: str, file: str) -> Instruction:
    try:
        return parse_instruction(line, escape)
    except SyntaxProblem as problem:
        raise DockerfileError(str(problem), line.start, file) from None
