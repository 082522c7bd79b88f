"""ENV, LABEL and ARG: named values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from wherry.builder.errors import SyntaxProblem
from wherry.builder.instructions.base import Instruction, Origin, at_least_one, flags_of
from wherry.builder.lexer import LogicalLine
from wherry.filepath import SPACE
from wherry.golang import quote

_BLANKS = re.compile(r"[\t\v\f\r ]+")
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigning(Instruction):
    """What ENV and LABEL have in common; names and values are as written.

    ``legacy`` marks the form without ``=``.
    """

    pairs: Pairs
    legacy: bool = False

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Self:
        """INSTRUCTION NAME=VALUE … | NAME VALUE. Raises SyntaxProblem."""
        flags_of(line)
        pairs, legacy = _pairs(line, cls.NAME, origin.escape)
        return cls(origin=origin, pairs=pairs, legacy=legacy)


class Env(Assigning):
    """ENV: the environment of later steps and of the container."""

    __slots__ = ()
    NAME: ClassVar[str] = "ENV"


class Label(Assigning):
    """LABEL: notes on the image."""

    __slots__ = ()
    NAME: ClassVar[str] = "LABEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """ARG; a default of None means that only the name is declared."""

    NAME: ClassVar[str] = "ARG"
    declarations: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Arg:
        """ARG NAME[=DEFAULT] …. Raises SyntaxProblem."""
        words = split_words(line.arguments, origin.escape)
        at_least_one(cls.NAME, words)
        flags_of(line)
        declarations: list[tuple[str, str | None]] = []
        for word in words:
            name, equals, default = word.partition("=")
            if not name:
                raise SyntaxProblem("ARG names can not be blank")
            declarations.append((name, default if equals else None))
        return cls(origin=origin, declarations=tuple(declarations))


def split_words(text: str, escape: str) -> list[str]:
    """Split at unquoted, unescaped blanks; quotes and escapes stay in the words."""
    words: list[str] = []
    out = ""
    quote = ""
    quoted_before = False
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if not quote and character in SPACE:
            if out or quoted_before:
                words.append(out)
            out, quoted_before = "", False
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote, quoted_before = character, True
        if character == escape and quote != "'":
            if position == len(text):
                break  # an escape at the very end stands for nothing
            out += character
            character = text[position]
            position += 1
        out += character
    if out or quoted_before:
        words.append(out)
    return words


def _pairs(line: LogicalLine, name: str, escape: str) -> tuple[Pairs, bool]:
    words = split_words(line.arguments, escape)
    at_least_one(name, words)
    if "=" not in words[0]:
        parts = _BLANKS.split(line.arguments, maxsplit=1)
        if len(parts) < 2:
            raise SyntaxProblem(f"{name} must have two arguments")
        return ((parts[0], parts[1]),), True
    pairs: list[tuple[str, str]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise SyntaxProblem(
                f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value"
            )
        if not key:
            raise SyntaxProblem(f"{name} names can not be blank")
        pairs.append((key, value))
    return tuple(pairs), False
