"""USER, WORKDIR, EXPOSE, VOLUME, MAINTAINER and ONBUILD: settings of the image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from wherry.builder.errors import SyntaxProblem
from wherry.builder.instructions.base import (
    Instruction,
    Origin,
    Single,
    at_least_one,
    flags_of,
)
from wherry.builder.lexer import LogicalLine

_ONBUILD = re.compile(r"^\s*ONBUILD\s*", re.IGNORECASE)


class User(Single):
    """USER NAME|UID[:GROUP|GID]."""

    __slots__ = ()
    NAME: ClassVar[str] = "USER"


class Workdir(Single):
    """WORKDIR PATH; a relative path goes on from the one before."""

    __slots__ = ()
    NAME: ClassVar[str] = "WORKDIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE; ports as written."""

    NAME: ClassVar[str] = "EXPOSE"
    ports: tuple[str, ...]

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Expose:
        """EXPOSE PORT[-PORT][/PROTOCOL] …. Raises SyntaxProblem."""
        ports = line.arguments.split()
        at_least_one(cls.NAME, ports)
        flags_of(line)
        return cls(origin=origin, ports=tuple(ports))


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """VOLUME; paths as written."""

    NAME: ClassVar[str] = "VOLUME"
    paths: tuple[str, ...]

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> Volume:
        """VOLUME PATH … | ["path", …]. Raises SyntaxProblem."""
        values = line.json_list
        paths = line.arguments.split() if values is None else values
        at_least_one(cls.NAME, paths)
        flags_of(line)
        if not all(path.strip() for path in paths):
            raise SyntaxProblem("VOLUME specified can not be an empty string")
        return cls(origin=origin, paths=tuple(path.strip() for path in paths))


class Maintainer(Single):
    """MAINTAINER TEXT: the author of the image; deprecated in favour of a label."""

    __slots__ = ()
    NAME: ClassVar[str] = "MAINTAINER"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """ONBUILD: ``trigger`` is the text of an instruction for builds on this image."""

    NAME: ClassVar[str] = "ONBUILD"
    trigger: str

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> OnBuild:
        """ONBUILD INSTRUCTION. Raises SyntaxProblem."""
        at_least_one(cls.NAME, line.arguments)
        flags_of(line)
        word = line.arguments.split(maxsplit=1)[0].upper()
        if word == "ONBUILD":
            raise SyntaxProblem("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        if word in ("FROM", "MAINTAINER"):
            raise SyntaxProblem(f"{word} isn't allowed as an ONBUILD trigger")
        trigger = _ONBUILD.sub("", line.text)
        for heredoc in line.heredocs:
            trigger += f"\n{heredoc.content}{heredoc.name}"
        return cls(origin=origin, trigger=trigger)
