"""Variables and quotes in the arguments of instructions.

An Expander takes a word through the rules of the shell that the builder knows itself:
``$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?e} ${v?e} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r}
${v//p/r}``, quotes, and the escape character of the file.
Source: https://docs.docker.com/reference/dockerfile/#environment-replacement
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from wherry.builder.errors import SyntaxProblem
from wherry.filepath import SPACE
from wherry.golang import quote
from wherry.patterns import Pattern

MAX_LENGTH = 128 << 10
"""Characters that variables may bring into one word; Linux takes no longer one, execve(2).

Values are made of values, so a few lines could ask for more than any memory has.
"""
MAX_WORK = 1 << 18
"""Characters of a value times those of a pattern: what is searched while others wait."""
_SPACES = re.compile(f"[{SPACE}]")
_SPECIAL_PARAMETERS = "@*#?-$!"
_END = ""


class Expander:
    """Expands words in one environment and notes which variables were used."""

    def __init__(
        self,
        environment: Mapping[str, str],
        escape: str = "\\",
        *,
        keep_quotes: bool = False,
        keep_escapes: bool = False,
        keep_unset: bool = False,
        plain_quotes: bool = False,
    ) -> None:
        """``keep_…`` leave quotes, escapes or references to unset variables as written.

        With ``plain_quotes`` quotes are characters like any other.
        """
        self.environment = environment
        self.escape = escape
        self.keep_quotes = keep_quotes
        self.keep_escapes = keep_escapes
        self.keep_unset = keep_unset
        self.plain_quotes = plain_quotes
        self.used: set[str] = set()
        self.undefined: set[str] = set()

    def word(self, text: str) -> str:
        """The expansion as one word, inner spaces kept. Raises SyntaxProblem."""
        return self._run(text)[0]

    def words(self, text: str) -> list[str]:
        """The expansion split at unquoted spaces, those from variables included."""
        return self._run(text)[1]

    def _run(self, text: str) -> tuple[str, list[str]]:
        try:
            return _Scanner(text, self).until(_END, self.keep_escapes)
        except SyntaxProblem as problem:
            raise SyntaxProblem(f"failed to process {quote(text)}: {problem}") from None
        except RecursionError:
            raise SyntaxProblem("failed to process a word: it is nested too deeply") from None

    def lookup(self, name: str) -> str | None:
        """The value of a variable; its use is noted."""
        value = self.environment.get(name)
        (self.undefined if value is None else self.used).add(name)
        return value


class _Words:
    """Collects characters into words; quoted and escaped characters never split."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._pieces: list[str] = []

    def split(self, text: str) -> None:
        first, *others = _SPACES.split(text)
        self._pieces.append(first)
        for other in others:
            self.finish()
            self._pieces.append(other)

    def keep(self, text: str) -> None:
        self._pieces.append(text)

    def finish(self) -> list[str]:
        if word := "".join(self._pieces):
            self.done.append(word)
        self._pieces.clear()
        return self.done


class _Scanner:
    def __init__(self, text: str, options: Expander) -> None:
        self.text = text
        self.position = 0
        self.length = 0  # of what variables have brought
        self.options = options
        self.raw_escapes = options.keep_escapes

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        character = self.peek()
        self.position += 1 if character else 0
        return character

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Expand up to the character ``stop`` (or the end), as one text and as words."""
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        out: list[str] = []
        words = _Words()
        while (character := self.peek()) != _END:
            if character == stop:
                self.next()
                self.raw_escapes = before
                return "".join(out), words.finish()
            if character == "$":
                piece = self.variable()
                words.split(piece)
            elif character in "'\"" and not self.options.plain_quotes:
                piece = self.single_quoted() if character == "'" else self.double_quoted()
                words.keep(piece)
            elif character == self.options.escape:
                piece = self.escaped()
                words.keep(piece)
            else:
                piece = self.next()
                words.split(piece)
            out.append(piece)
        if stop != _END:
            raise SyntaxProblem(f"unexpected end of statement while looking for matching {stop}")
        self.raw_escapes = before
        return "".join(out), words.finish()

    def escaped(self) -> str:
        escape = self.next()
        return (escape if self.raw_escapes else "") + self.next()

    def single_quoted(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            raise SyntaxProblem(
                "unexpected end of statement while looking for matching single-quote"
            )
        inner = self.text[self.position + 1 : end]
        self.position = end + 1
        return f"'{inner}'" if self.options.keep_quotes else inner

    def double_quoted(self) -> str:
        self.next()
        out: list[str] = []
        while (character := self.peek()) != '"':
            if character == _END:
                raise SyntaxProblem(
                    "unexpected end of statement while looking for matching double-quote"
                )
            if character == "$":
                out.append(self.variable())
                continue
            self.next()
            if character == self.options.escape:
                if self.raw_escapes:
                    out.append(character)
                following = self.peek()
                if following == _END:
                    continue
                # Before anything else the escape character stands for itself.
                if following in ('"', "$", self.options.escape):
                    character = self.next()
            out.append(character)
        self.next()
        inner = "".join(out)
        return f'"{inner}"' if self.options.keep_quotes else inner

    def variable(self) -> str:
        """What a reference stands for."""
        value = self.reference()
        self.length += len(value)
        if self.length > MAX_LENGTH:
            raise SyntaxProblem(f"the value is longer than {MAX_LENGTH} characters")
        return value

    def reference(self) -> str:
        self.next()
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.options.lookup(name)
            if value is None:
                return f"${name}" if self.options.keep_unset else ""
            return value
        self.next()
        if self.peek() == _END:
            raise SyntaxProblem("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise SyntaxProblem("syntax error: bad substitution")
        name = self.name()
        modifier = self.next()
        if modifier == _END:
            raise SyntaxProblem("syntax error: missing '}'")
        if modifier == "}":
            value = self.options.lookup(name)
            if value is None:
                return f"${{{name}}}" if self.options.keep_unset else ""
            return value
        if modifier == "/":
            return self.replaced(name)
        empty_is_unset = modifier == ":"
        if empty_is_unset:
            modifier += self.next()
        if modifier[-1:] not in tuple("+-?#%") or not modifier:
            raise SyntaxProblem(f"unsupported modifier ({modifier}) in substitution")
        return self.modified(name, modifier, empty_is_unset)

    def modified(self, name: str, modifier: str, empty_is_unset: bool) -> str:
        operation = modifier[-1]
        word = self.enclosed("}", operation in "#%")
        value = self.options.lookup(name)
        if value is None and self.options.keep_unset:
            return f"${{{name}{modifier}{word}}}"
        missing = value is None or (empty_is_unset and value == "")
        if operation == "-":
            return word if missing else value or ""
        if operation == "+":
            return "" if missing else word
        if operation == "?":
            if missing:
                state = "unset" if value is None else "empty"
                raise SyntaxProblem(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        longest = word.startswith(operation)
        pattern = word[1:] if longest else word
        return _trimmed(value or "", pattern, longest, from_end=operation == "%")

    def replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.next()
        pattern = self.enclosed("/", True)
        replacement = self.enclosed("}", True)
        value = self.options.lookup(name)
        if value is None and self.options.keep_unset:
            return f"${{{name}/{'/' if everywhere else ''}{pattern}/{replacement}}}"
        out, position = [], 0
        for begin, end in _found(value or "", _pattern_tokens(pattern)):
            out += [(value or "")[position:begin], replacement]
            position = end
            if not everywhere:
                break
            if len(out) // 2 * len(replacement) > MAX_LENGTH:
                raise SyntaxProblem(f"the value is longer than {MAX_LENGTH} characters")
        return "".join(out) + (value or "")[position:]

    def enclosed(self, stop: str, raw_escapes: bool) -> str:
        try:
            return self.until(stop, raw_escapes)[0]
        except SyntaxProblem:
            if self.peek() != _END:
                raise
            where = "'}'" if stop == "}" else "'/' in ${}"
            raise SyntaxProblem(f"syntax error: missing {where}") from None

    def name(self) -> str:
        first = self.peek()
        if first and first in _SPECIAL_PARAMETERS:
            return self.next()
        wanted = str.isdigit if first.isdigit() else _is_name_character
        start = self.position
        while (character := self.peek()) and wanted(character):
            self.position += 1
        return self.text[start : self.position]


def _is_name_character(character: str) -> bool:
    return character.isalpha() or character.isdigit() or character == "_"


def _pattern_tokens(pattern: str) -> list[str]:
    """The parts of a shell pattern as regular expressions; ``*`` and ``?`` stay as they are."""
    tokens: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\":
            following = pattern[position : position + 1]
            if following in ("}", "/"):
                continue  # needed inside ${}, no part of the pattern
            if following not in ("*", "?", "\\"):
                raise SyntaxProblem(
                    f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'"
                )
            tokens.append(re.escape(following))
            position += 1
        else:
            tokens.append(character if character in "*?" else re.escape(character))
    return tokens


def _expression(tokens: list[str], value: str, before: str = "") -> Pattern:
    if len(tokens) * len(value) > MAX_WORK:
        raise SyntaxProblem("the pattern of a substitution is too long for so long a value")
    wild = {"*": ".*", "?": "."}
    parts = [before, *(wild.get(token, token) for token in tokens)]
    return Pattern("".join(parts), most=2 * len(parts) + 1)


def _trimmed(value: str, pattern: str, longest: bool, from_end: bool) -> str:
    tokens = _pattern_tokens(pattern)
    if from_end:  # a suffix is a prefix of the reversed text
        return _cut(value[::-1], tokens[::-1], longest)[::-1]
    return _cut(value, tokens, longest)


def _cut(value: str, tokens: list[str], longest: bool) -> str:
    """``value`` without the prefix that matches."""
    ends = _expression(tokens, value).ends(value)
    end = max(ends, default=0) if longest else next(ends, 0)
    return value[end:]


def _found(value: str, tokens: list[str]) -> Iterator[tuple[int, int]]:
    """Where the pattern is found, leftmost and longest, one behind the other."""
    backwards = _expression(tokens[::-1], value, r"[\s\S]*")
    begins = [len(value) - end for end in backwards.ends(value[::-1])]
    forwards = _expression(tokens, value)
    last, following = -1, 0
    for begin in reversed(begins):
        if begin < following:
            continue
        end = max(forwards.ends(value, begin))
        if end > last:  # nothing is found right behind something
            yield begin, end
        last, following = end, max(end, begin + 1)
