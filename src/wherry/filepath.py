"""Path rules of Go's ``path/filepath``, which Docker's users see in every pattern and path.

Only the two functions whose results differ from Python's own are here.
Source: https://pkg.go.dev/path/filepath (Clean, Match).
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterator

from wherry.patterns import Pattern

# White space as Go's unicode.IsSpace knows it.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
SPACE += "\u200a\u2028\u2029\u202f\u205f\u3000"


NOTHING = r"[^\s\S]"
"""An expression that no character matches."""


class BadPattern(ValueError):
    """A wildcard pattern is malformed (an open bracket, a trailing backslash)."""

    def __init__(self, pattern: str) -> None:
        super().__init__("syntax error in pattern")
        self.pattern = pattern


def clean(path: str) -> str:
    """The shortest path with the same meaning; the empty path becomes ``.``."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def match(pattern: str, name: str) -> bool:
    """Whether the whole of ``name`` matches; ``*``, ``?`` and ``[…]`` never match a slash.

    Raises BadPattern, whatever the name is.
    """
    return _compiled(pattern).fullmatch(name)


def has_wildcard(pattern: str) -> bool:
    """Whether ``pattern`` can match more than one name."""
    escaped = False
    for character in pattern:
        if not escaped and character in "*?[":
            return True
        escaped = not escaped and character == "\\"
    return False


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Pattern:
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if not out or out[-1] != "[^/]*":
                out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            position, expression = _bracket(pattern, position)
            out.append(expression)
        elif character == "\\":
            if position == len(pattern):
                raise BadPattern(pattern)
            out.append(re.escape(pattern[position]))
            position += 1
        else:
            out.append(re.escape(character))
    return Pattern("(?s)" + "".join(out), most=2 * len(out) + 1)


def _bracket(pattern: str, position: int) -> tuple[int, str]:
    """Translate the class that begins after ``[``; returns the position after ``]``."""
    negated = pattern[position : position + 1] == "^"
    if negated:
        position += 1
    ranges: list[str] = []
    while True:
        if ranges and pattern[position : position + 1] == "]":
            break
        position, low = _bracket_character(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            position, high = _bracket_character(pattern, position + 1)
        ranges.append("".join(_ranges(low, high)))
    inner = "".join(ranges)
    if negated:
        return position + 1, f"[^/{inner}]"
    return position + 1, f"[{inner}]" if inner else NOTHING


def _ranges(low: str, high: str) -> Iterator[str]:
    """The characters from ``low`` to ``high`` but the slash; none where it runs backwards."""
    if low <= "/" <= high:
        yield from _ranges(low, chr(ord("/") - 1))
        yield from _ranges(chr(ord("/") + 1), high)
    elif low <= high:
        yield f"{re.escape(low)}-{re.escape(high)}"


def _bracket_character(pattern: str, position: int) -> tuple[int, str]:
    character = pattern[position : position + 1]
    if character in ("", "-", "]"):
        raise BadPattern(pattern)
    if character == "\\":
        position += 1
        character = pattern[position : position + 1]
    # A class must still be closed after its last character.
    if not character or position + 1 >= len(pattern):
        raise BadPattern(pattern)
    return position + 1, character
