"""Which files a ``.dockerignore`` keeps out of a build context.

Standard library only: the command line filters contexts too. Patterns follow Go's
``filepath.Match`` with ``**`` for any number of directories; the last matching pattern decides,
and whatever matches a directory matches all that is in it.
Source: https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass

from wherry import filepath
from wherry.filepath import NOTHING, SPACE
from wherry.patterns import Pattern as Expression


def read_patterns(text: str) -> list[str]:
    """The patterns in a ``.dockerignore`` file, cleaned, in order; comments are left out.

    Only ``#`` in the first column begins a comment; a byte order mark is dropped.
    """
    patterns: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        pattern = line.removesuffix("\r")
        if pattern.startswith("#"):
            continue
        pattern = pattern.strip(SPACE)
        if not pattern:
            continue
        negated = pattern.startswith("!")
        if negated:
            pattern = pattern[1:].strip(SPACE)
        if pattern:
            pattern = filepath.clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append(f"!{pattern}" if negated else pattern)
    return patterns


@dataclass(frozen=True, slots=True)
class Pattern:
    """One cleaned pattern; a negated one brings files back."""

    text: str
    negated: bool
    expression: Expression

    def matches(self, path: str) -> bool:
        """Whether the pattern matches this clean path or a directory above."""
        return any(
            end == len(path) or path.startswith("/", end)
            for end in self.expression.ends(path)
            if end
        )


class Matcher:
    """Decides for each path of a context whether it is left out."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Compile ``patterns``; raises filepath.BadPattern, or ValueError for a lone ``!``."""
        self.patterns = [_pattern(p) for raw in patterns if (p := raw.strip(SPACE))]
        self._negated = [pattern for pattern in self.patterns if pattern.negated]

    def excludes(self, path: str) -> bool:
        """Whether ``path`` (slashes, relative to the context) is left out of the context."""
        if not self.patterns:
            return False
        path = filepath.clean(path)
        if path == ".":
            return False
        excluded = False
        for pattern in self.patterns:
            # A pattern that would not change the verdict need not be tried.
            if pattern.negated == excluded and pattern.matches(path):
                excluded = not pattern.negated
        return excluded

    def may_include_below(self, directory: str) -> bool:
        """Whether an excluded ``directory`` must still be walked: a ``!`` may bring back a file."""
        inside = filepath.clean(directory) + "/"
        for pattern in self._negated:
            fixed = re.split(r"[*?\[\\]", pattern.text, maxsplit=1)[0]
            has_wildcard = fixed != pattern.text
            if f"{fixed}/".startswith(inside) or (has_wildcard and inside.startswith(fixed)):
                return True
        return False


def context_patterns(patterns: Iterable[str], dockerfile: str) -> list[str]:
    """``patterns`` for a sending client: the Dockerfile and the ignore file are always sent."""
    return [*patterns, "!.dockerignore", f"!{posixpath.normpath(dockerfile)}"]


def _pattern(text: str) -> Pattern:
    text = filepath.clean(text)
    negated = text.startswith("!")
    if negated:
        text = text[1:]
        if not text:
            raise ValueError('illegal exclusion pattern: "!"')
    filepath.match(text, ".")  # refuses a malformed pattern
    expression = f"(?s){_expression(text)}"
    return Pattern(text, negated, Expression(expression, most=4 * len(text) + 1))


def _expression(text: str) -> str:
    out: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "*":
            if text[position : position + 1] != "*":
                out.append("[^/]*")
                continue
            begins = position == 1
            position += 1
            slash = text[position : position + 1] == "/"
            position += slash
            if position == len(text):
                out.append(".*")
            elif begins and not slash:
                out.append(".*")  # **.md: any path that ends so
            else:
                out.append("(?:.*/)?")
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            end = _end_of_class(text, position)
            out.append(_class(text[position:end]))
            position = end + 1
        elif character == "\\":
            out.append(re.escape(text[position]))
            position += 1
        else:
            out.append(re.escape(character))
    return "".join(out)


def _end_of_class(text: str, position: int) -> int:
    if text[position] == "^":
        position += 1
    while text[position] != "]":
        position += 2 if text[position] == "\\" else 1
    return position


def _class(inner: str) -> str:
    negated = inner.startswith("^")
    inner = inner.removeprefix("^").replace("[", "\\[").replace("&&", "&\\&").replace("~~", "~\\~")
    try:
        expression = f"[{'^' if negated else ''}{inner}]"
        re.compile(expression)
    except re.error:  # a range that runs backwards: matches nothing
        return "[^/]" if negated else NOTHING
    return expression
