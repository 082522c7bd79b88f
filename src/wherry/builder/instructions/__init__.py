"""The instructions of a Dockerfile: each class holds one instruction and knows its grammar."""

from __future__ import annotations

from typing import Protocol

from wherry.builder.errors import SyntaxProblem, suggestion
from wherry.builder.instructions.base import Command, Instruction, Origin
from wherry.builder.instructions.files import Add, Copy, Transfer
from wherry.builder.instructions.mounts import Mount
from wherry.builder.instructions.process import Cmd, Entrypoint, Healthcheck, Shell, StopSignal
from wherry.builder.instructions.run import Run
from wherry.builder.instructions.settings import (
    Expose,
    Maintainer,
    OnBuild,
    User,
    Volume,
    Workdir,
)
from wherry.builder.instructions.stage import From
from wherry.builder.instructions.values import Arg, Env, Label
from wherry.builder.lexer import LogicalLine

__all__ = [
    "Add",
    "Arg",
    "Cmd",
    "Command",
    "Copy",
    "Entrypoint",
    "Env",
    "Expose",
    "From",
    "Healthcheck",
    "Instruction",
    "Label",
    "Maintainer",
    "Mount",
    "OnBuild",
    "Origin",
    "Run",
    "Shell",
    "StopSignal",
    "Transfer",
    "User",
    "Volume",
    "Workdir",
    "parse_instruction",
]


class _Parser(Protocol):
    NAME: str

    def parse(self, line: LogicalLine, origin: Origin) -> Instruction: ...


_ALL: tuple[_Parser, ...] = (
    Add, Arg, Cmd, Copy, Entrypoint, Env, Expose, From, Healthcheck, Label, Maintainer, OnBuild,
    Run, Shell, StopSignal, User, Volume, Workdir,
)  # fmt: skip
_BY_NAME = {parser.NAME: parser for parser in _ALL}


def parse_instruction(line: LogicalLine, escape: str = "\\") -> Instruction:
    """The instruction that ``line`` holds. Raises SyntaxProblem."""
    parser = _BY_NAME.get(line.command.upper())
    if parser is None:
        near = suggestion(line.command, _BY_NAME)
        raise SyntaxProblem(f"unknown instruction: {line.command}{near}")
    return parser.parse(line, Origin.of(line, escape))
