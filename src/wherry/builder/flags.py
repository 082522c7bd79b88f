"""Flags in front of an instruction's arguments: ``COPY --from=base --link a b``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from wherry.builder.errors import SyntaxProblem, suggestion
from wherry.filepath import SPACE


class Kind(Enum):
    """What a flag may hold."""

    BOOL = auto()
    STRING = auto()
    LIST = auto()


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags that were given; asking for one that was not gives the empty value."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """The value of a string flag, or the empty string."""
        return self.values.get(name, ("",))[0]

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated."""
        return self.values.get(name, ())

    def true(self, name: str) -> bool:
        """Whether a boolean flag is on."""
        return self.text(name) == "true"


def split_flags(line: str) -> tuple[list[str], str]:
    """The leading ``--flag`` words of an instruction's arguments, unquoted, and what follows.

    A lone ``--`` ends the flags.
    """
    flags: list[str] = []
    position = 0
    while True:
        while position < len(line) and line[position] in SPACE:
            position += 1
        if not line.startswith("--", position):
            return flags, line[position:]
        word, position = _flag_word(line, position)
        if word == "--":
            return flags, line[position:]
        flags.append(word)


def _flag_word(line: str, position: int) -> tuple[str, int]:
    out: list[str] = []
    quote = ""
    while position < len(line):
        character = line[position]
        if quote:
            if character == quote:
                quote = ""
                position += 1
                continue
        elif character in SPACE:
            break
        elif character in "'\"":
            quote = character
            position += 1
            continue
        if character == "\\":
            position += 1
            if position == len(line):
                break
            character = line[position]
        out.append(character)
        position += 1
    return "".join(out), position


def parse_flags(words: Sequence[str], known: Mapping[str, Kind]) -> Flags:
    """Check ``words`` (each begins with ``--``) against ``known``. Raises SyntaxProblem."""
    values: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, given, value = word[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            raise SyntaxProblem(f"unknown flag: --{name}{_near(name, known)}")
        if name in values and kind is not Kind.LIST:
            raise SyntaxProblem(f"duplicate flag specified: --{name}")
        if (not given and kind is not Kind.BOOL) or (given and not value and kind is Kind.BOOL):
            raise SyntaxProblem(f"missing a value on flag: --{name}")
        if kind is Kind.BOOL:
            value = value.lower() or "true"
            if value not in ("true", "false"):
                raise SyntaxProblem(f"expecting boolean value for flag --{name}, not: {value}")
        values[name] = (*values.get(name, ()), value)
    return Flags(values)


def _near(name: str, known: Iterable[str]) -> str:
    return suggestion(name, sorted(known))
