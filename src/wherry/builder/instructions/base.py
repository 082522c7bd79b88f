"""What all instructions share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from wherry.builder.errors import SyntaxProblem
from wherry.builder.flags import Flags, Kind, parse_flags
from wherry.builder.lexer import LogicalLine, json_strings
from wherry.filepath import SPACE


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instruction was written and how."""

    text: str
    start: int
    end: int
    command: str
    comments: tuple[str, ...] = ()
    escape: str = "\\"

    @classmethod
    def of(cls, line: LogicalLine, escape: str) -> Origin:
        """The origin of a parsed line."""
        text = line.text.strip(SPACE)
        return cls(text, line.start, line.end, line.command, line.comments, escape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """Base of all instructions; ``NAME`` is the word in capitals."""

    NAME: ClassVar[str] = ""
    origin: Origin


@dataclass(frozen=True, slots=True)
class Command:
    """A command line: in exec form a list of arguments, in shell form one line of text."""

    arguments: tuple[str, ...]
    shell_form: bool

    def with_shell(self, shell: tuple[str, ...]) -> tuple[str, ...]:
        """What is executed: ``shell`` in front of the line in shell form."""
        return (*shell, *self.arguments) if self.shell_form else self.arguments


def command_of(line: LogicalLine, arguments: str | None = None) -> Command:
    """The command line of ``line`` (or of a part of its arguments). Raises SyntaxProblem."""
    text = line.arguments if arguments is None else arguments
    values = json_strings(text)
    if values is not None:
        return Command(tuple(values), shell_form=False)
    return Command((text,) if text else (), shell_form=True)


def flags_of(line: LogicalLine, known: Mapping[str, Kind] | None = None) -> Flags:
    """The flags of ``line``, checked. Raises SyntaxProblem."""
    return parse_flags(line.flags, known or {})


def at_least_one(name: str, values: object) -> None:
    """Raises SyntaxProblem when ``values`` is empty."""
    if not values:
        raise SyntaxProblem(f"{name} requires at least one argument")


@dataclass(frozen=True, slots=True, kw_only=True)
class Single(Instruction):
    """An instruction with one argument, which is kept as written."""

    value: str

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Self:
        """INSTRUCTION TEXT. Raises SyntaxProblem."""
        flags_of(line)
        if not line.arguments:
            raise SyntaxProblem(f"{cls.NAME} requires exactly one argument")
        return cls(origin=origin, value=line.arguments)
