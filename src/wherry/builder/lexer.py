"""A Dockerfile as logical lines: directives, comments, continuations and here-documents.

Source: https://docs.docker.com/reference/dockerfile/#format and #parser-directives
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from wherry.builder.errors import DockerfileError, SyntaxProblem
from wherry.builder.flags import split_flags
from wherry.builder.heredoc import Heredoc, markers
from wherry.filepath import SPACE

MAX_LINE = 65535
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = ("syntax", "escape", "check")
_COMMAND = re.compile(r"[\t\v\f\r ]+")
_WITH_HEREDOCS = ("add", "copy", "run")


@dataclass(frozen=True, slots=True)
class Directives:
    """What the lines before everything else say about the file."""

    escape: str = "\\"
    syntax: str = ""
    check: str = ""


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """One instruction as written: its word, its flags, the rest, and where it stands."""

    command: str
    flags: tuple[str, ...]
    arguments: str
    text: str
    start: int
    end: int
    heredocs: tuple[Heredoc, ...] = ()
    comments: tuple[str, ...] = ()
    empty_continuation: bool = False

    @property
    def json_list(self) -> list[str] | None:
        """The arguments in exec form, or None when they are no JSON array of strings."""
        return json_strings(self.arguments)


@dataclass(frozen=True, slots=True)
class Source:
    """The whole file."""

    lines: tuple[LogicalLine, ...]
    directives: Directives


def json_strings(text: str) -> list[str] | None:
    """``text`` as JSON array of strings; None when it is not JSON.

    Raises SyntaxProblem for an array that holds anything but strings.
    """
    if not text.lstrip(SPACE).startswith("["):
        return None
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise SyntaxProblem(
            "when using JSON array syntax, arrays must be comprised of strings only"
        )
    return list(values)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def split_line(text: str, start: int = 0, end: int = 0) -> LogicalLine:
    """One logical line taken apart; also for the trigger inside an ONBUILD."""
    command, *rest = _COMMAND.split(text.strip(SPACE), maxsplit=1)
    flags, arguments = split_flags(rest[0]) if rest else ([], "")
    return LogicalLine(command, tuple(flags), arguments.strip(SPACE), text, start, end)


def lex(content: bytes, file: str = "Dockerfile") -> Source:
    """Take ``content`` apart. Raises DockerfileError; nothing else for any input."""
    if not content:
        raise DockerfileError(f"the Dockerfile ({file}) cannot be empty", file=file)
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    reader = _Reader(text, file)
    lines = tuple(reader.lines())
    if not lines:
        raise DockerfileError("file with no instructions", file=file)
    return Source(lines, reader.directives)


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.directives = Directives()
        self._physical = text.split("\n")
        if not self._physical[-1]:
            self._physical.pop()
        self._number = 0  # of the line read last, 1-based
        self._seen: set[str] = set()
        self._directives_over = False

    def lines(self) -> Iterator[LogicalLine]:
        comments: list[str] = []
        while (raw := self._next()) is not None:
            line = raw.lstrip(SPACE)
            if line.startswith("#"):
                self._directive(line)
                comments.append(line[1:].strip(SPACE))
                continue
            self._directives_over = True
            start = self._number
            logical, ended = self._continued(line)
            if ended and not logical:
                comments = []
                continue
            logical, empty = self._continuation(logical, ended)
            yield self._finish(logical, start, tuple(comments), empty)
            comments = []

    def _next(self) -> str | None:
        """The next physical line without its newline, or None."""
        if self._number == len(self._physical):
            return None
        self._number += 1
        line = self._physical[self._number - 1]
        if len(line) > MAX_LINE:
            raise self._error(
                f"dockerfile line greater than max allowed size of {MAX_LINE}", self._number
            )
        return line.rstrip("\r")

    def _continuation(self, logical: str, ended: bool) -> tuple[str, bool]:
        """Append the lines that continue ``logical``; comments among them vanish."""
        pieces, empty = [logical], False
        while not ended and (line := self._next()) is not None:
            stripped = line.lstrip(SPACE)
            if stripped.startswith("#"):
                continue
            if not stripped:
                empty = True
                continue
            piece, ended = self._continued(line)
            pieces.append(piece)
        return "".join(pieces), empty

    def _continued(self, line: str) -> tuple[str, bool]:
        """``line`` without a continuation mark, and whether the instruction ends here."""
        bare = line.rstrip(" \t")
        escape = self.directives.escape
        if bare.endswith(escape) and not bare[:-1].endswith(escape):
            return bare[:-1], False
        return line, True

    def _directive(self, line: str) -> None:
        if self._directives_over:
            return
        found = _DIRECTIVE.fullmatch(line)
        name = found[1].lower() if found else ""
        if not found or name not in _DIRECTIVES:
            self._directives_over = True
            return
        if name in self._seen:
            raise self._error(f"only one {name} parser directive can be used", self._number)
        self._seen.add(name)
        value = found[2]
        if name == "escape":
            if value not in ("`", "\\"):
                raise self._error(
                    f"invalid escape token '{value}' does not match ` or \\", self._number
                )
            self.directives = replace(self.directives, escape=value)
        elif name == "syntax":
            self.directives = replace(self.directives, syntax=value)
        else:
            self.directives = replace(self.directives, check=value)

    def _finish(
        self, logical: str, start: int, comments: tuple[str, ...], empty: bool
    ) -> LogicalLine:
        line = split_line(logical, start, self._number)
        try:
            heredocs = self._heredocs(line, start)
        except SyntaxProblem as problem:
            raise self._error(str(problem), start) from None
        return replace(
            line,
            end=self._number,
            heredocs=heredocs,
            comments=comments,
            empty_continuation=empty,
        )

    def _heredocs(self, line: LogicalLine, start: int) -> tuple[Heredoc, ...]:
        if "<<" not in line.text:
            return ()
        inner = line
        if line.command.lower() == "onbuild":
            inner = split_line(line.arguments)
        if inner.command.lower() not in _WITH_HEREDOCS or inner.json_list is not None:
            return ()
        return tuple(self._document(heredoc, start) for heredoc in markers(line.text))

    def _document(self, heredoc: Heredoc, start: int) -> Heredoc:
        first = self._number
        while self._number < len(self._physical):
            self._number += 1
            if heredoc.ends_at(self._physical[self._number - 1].rstrip("\r")):
                content = "".join(f"{line}\n" for line in self._physical[first : self._number - 1])
                return replace(heredoc, content=content)
        raise self._error("unterminated heredoc", start)

    def _error(self, problem: str, line: int) -> DockerfileError:
        return DockerfileError(problem, line, self.file)
