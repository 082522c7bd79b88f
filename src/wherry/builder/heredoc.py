"""Here-documents: files written into the Dockerfile, after the line that names them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wherry.builder.errors import SyntaxProblem
from wherry.builder.words import Expander

_MARKER = re.compile(r"(\d*)<<(-?)([^<]*)")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Heredoc:
    """One document; ``content`` is as written, with its newlines.

    ``expand`` is off when the name was quoted; ``chomp`` (``<<-``) drops leading tabs.
    """

    name: str
    expand: bool = True
    chomp: bool = False
    fd: int = 0
    content: str = ""

    @property
    def text(self) -> str:
        """The content as the file shall hold it."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content

    def ends_at(self, line: str) -> bool:
        """Whether ``line`` (without its newline) is the terminator."""
        return (line.lstrip("\t") if self.chomp else line) == self.name


def parse_marker(word: str) -> Heredoc | None:
    """The document that ``word`` (``<<EOF``, ``3<<-"EOF"``) announces, or None."""
    found = _MARKER.fullmatch(word)
    if not found or not found[3]:
        return None
    try:
        raw = Expander({}, keep_quotes=True, keep_unset=True).words(found[3])
        plain = Expander({}, keep_unset=True).words(found[3])
    except SyntaxProblem:
        return None
    if len(raw) != 1 or len(plain) != 1:
        return None
    return Heredoc(
        name=plain[0],
        expand=raw[0] == plain[0],
        chomp=bool(found[2]),
        fd=int(found[1] or 0),
    )


def markers(line: str) -> list[Heredoc]:
    """All documents that the line announces, in order."""
    words = Expander({}, keep_quotes=True, keep_escapes=True, keep_unset=True).words(line)
    return [heredoc for word in words if (heredoc := parse_marker(word))]
