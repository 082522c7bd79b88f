"""CMD, ENTRYPOINT, SHELL, HEALTHCHECK and STOPSIGNAL: how the container's process runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from wherry import golang
from wherry.builder.errors import SyntaxProblem
from wherry.builder.flags import Flags, Kind
from wherry.builder.instructions.base import (
    Command,
    Instruction,
    Origin,
    Single,
    at_least_one,
    command_of,
    flags_of,
)
from wherry.builder.lexer import LogicalLine
from wherry.golang import quote

_MINIMUM_NANOSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanding(Instruction):
    """What CMD and ENTRYPOINT have in common."""

    command: Command

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Self:
        """INSTRUCTION LINE | ["program", …]. Raises SyntaxProblem."""
        flags_of(line)
        return cls(origin=origin, command=command_of(line))


class Cmd(Commanding):
    """CMD: the default command, or default arguments of the entry point."""

    __slots__ = ()
    NAME: ClassVar[str] = "CMD"


class Entrypoint(Commanding):
    """ENTRYPOINT; an empty list takes an inherited one away."""

    __slots__ = ()
    NAME: ClassVar[str] = "ENTRYPOINT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """SHELL: what takes the shell form of later instructions."""

    NAME: ClassVar[str] = "SHELL"
    shell: tuple[str, ...]

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Shell:
        """SHELL ["program", …]. Raises SyntaxProblem."""
        flags_of(line)
        at_least_one(cls.NAME, line.arguments)
        values = line.json_list
        if values is None:
            raise SyntaxProblem("SHELL requires the arguments to be in JSON form")
        at_least_one(cls.NAME, values)
        return cls(origin=origin, shell=tuple(values))


class StopSignal(Single):
    """STOPSIGNAL SIGNAL."""

    __slots__ = ()
    NAME: ClassVar[str] = "STOPSIGNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK; ``test`` is as in the image configuration, times are nanoseconds."""

    NAME: ClassVar[str] = "HEALTHCHECK"
    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Healthcheck:
        """HEALTHCHECK NONE | [flags] CMD LINE | [flags] CMD ["program", …]."""
        kind, *rest = re.split(r"\s+", line.arguments, maxsplit=1)
        at_least_one(cls.NAME, kind)
        arguments = rest[0] if rest else ""
        kind = kind.upper()
        if kind == "NONE":
            if arguments:
                raise SyntaxProblem("HEALTHCHECK NONE takes no arguments")
            flags_of(line)
            return cls(origin=origin, test=("NONE",))
        names = ("interval", "timeout", "start-period", "start-interval", "retries")
        flags = flags_of(line, dict.fromkeys(names, Kind.STRING))
        if kind != "CMD":
            raise SyntaxProblem(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)")
        command = command_of(line, arguments)
        if not command.arguments:
            raise SyntaxProblem("Missing command after HEALTHCHECK CMD")
        return cls(
            origin=origin,
            test=("CMD-SHELL" if command.shell_form else "CMD", *command.arguments),
            interval=_time(flags, "interval"),
            timeout=_time(flags, "timeout"),
            start_period=_time(flags, "start-period"),
            start_interval=_time(flags, "start-interval"),
            retries=_retries(flags.text("retries")),
        )


def _time(flags: Flags, name: str) -> int:
    value = flags.text(name)
    try:
        nanoseconds = golang.parse_duration(value) if value else 0
    except ValueError as error:
        raise SyntaxProblem(str(error)) from None
    if nanoseconds and nanoseconds < _MINIMUM_NANOSECONDS:
        raise SyntaxProblem(f"Interval {quote(name)} cannot be less than 1ms")
    return nanoseconds


def _retries(value: str) -> int:
    if not value:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", value) or abs(int(value)) >= 1 << 31:
        problem = "value out of range" if value.lstrip("+-").isdecimal() else "invalid syntax"
        raise SyntaxProblem(f"strconv.ParseInt: parsing {quote(value)}: {problem}")
    if int(value) < 0:
        raise SyntaxProblem(f"--retries cannot be negative ({value})")
    return int(value)
