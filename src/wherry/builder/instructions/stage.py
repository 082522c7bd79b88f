"""FROM: begins a stage on an image, on an earlier stage, or on nothing (``scratch``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from wherry.builder.errors import SyntaxProblem
from wherry.builder.flags import Kind
from wherry.builder.instructions.base import Instruction, Origin, flags_of
from wherry.builder.lexer import LogicalLine
from wherry.golang import quote

_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """``base`` and ``platform`` are not expanded yet; ``name`` is in lower case or empty."""

    NAME: ClassVar[str] = "FROM"
    base: str
    name: str = ""
    platform: str = ""

    @classmethod
    def parse(cls, line: LogicalLine, origin: Origin) -> From:
        """FROM [--platform=P] IMAGE [AS NAME]. Raises SyntaxProblem."""
        words = line.arguments.split()
        name = ""
        if len(words) == 3 and words[1].lower() == "as":
            name = words[2].lower()
            if not _NAME.fullmatch(name):
                raise SyntaxProblem(
                    f"invalid name for build stage: {quote(words[2])},"
                    " name can't start with a number or contain symbols"
                )
        elif len(words) != 1:
            raise SyntaxProblem("FROM requires either one or three arguments")
        flags = flags_of(line, {"platform": Kind.STRING})
        return cls(origin=origin, base=words[0], name=name, platform=flags.text("platform"))
