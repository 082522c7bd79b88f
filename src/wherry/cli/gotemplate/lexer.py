"""From a template's text to tokens.

Text outside ``{{ }}`` is one token; inside, tokens carry their kind and their text. Trim markers
(``{{-`` and ``-}}``) have done their work on the text around them when tokens come out.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT, RIGHT = "{{", "}}"
_SPACES = " \t\r\n"
_NAME_ENDS = " \t\r\n.,|:=()"
KEYWORDS = frozenset(
    (
        "block",
        "break",
        "continue",
        "define",
        "else",
        "end",
        "if",
        "nil",
        "range",
        "template",
        "with",
    )
)


class ParseError(ValueError):
    """The template's text is wrong; the message starts with ``template: :LINE: ``."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"template: :{line}: {text}")


class Token:
    """One token: ``kind``, its ``text``, and the line it stands on."""

    __slots__ = ("kind", "line", "offset", "text")

    def __init__(self, kind: str, text: str, line: int, offset: int) -> None:
        self.kind = kind
        self.text = text
        self.line = line
        self.offset = offset


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of ``source``; raises ParseError.

    Kinds: text, left, right, name (identifiers and keywords), field (``.Name``), dot, variable,
    string, number, char, pipe, comma, declare (``:=``), assign (``=``), open, close, space, end.
    """
    position, line = 0, 1
    trim_left = False
    while position <= len(source):
        start = source.find(LEFT, position)
        text = source[position:] if start < 0 else source[position:start]
        begin_line = line
        line += text.count("\n")
        trim_right = start >= 0 and _trims(source, start + 2, after=True)
        if trim_left:
            text = text.lstrip(_SPACES)
        if trim_right:
            text = text.rstrip(_SPACES)
        if text:
            yield Token("text", text, begin_line, position)
        if start < 0:
            break
        inside = start + 2 + (2 if trim_right else 0)
        if source.startswith("/*", inside):
            position, trim_left = _comment(source, inside, line)
            line += source.count("\n", inside, position)
            continue
        yield Token("left", LEFT, line, start)
        lexer = _Action(source, inside, line)
        yield from lexer.tokens()
        position, line, trim_left = lexer.position, lexer.line, lexer.trim
    yield Token("end", "", line, len(source))


def _trims(source: str, index: int, *, after: bool) -> bool:
    """A ``-`` at ``index`` with a space on its inner side is a trim marker."""
    return source[index : index + 1] == "-" and source[index + 1 : index + 2] in tuple(_SPACES)


def _comment(source: str, start: int, line: int) -> tuple[int, bool]:
    end = source.find("*/", start)
    if end < 0:
        raise ParseError(line, "unclosed comment")
    end += 2
    trim = source[end : end + 1] in tuple(_SPACES) and source[end + 1 : end + 2] == "-"
    end += 2 if trim else 0
    if not source.startswith(RIGHT, end):
        raise ParseError(line, "comment ends before closing delimiter")
    return end + 2, trim


_ONE_CHARACTER = {"=": "assign", "|": "pipe", ",": "comma"}


class _Action:
    """The tokens between one ``{{`` and its ``}}``."""

    def __init__(self, source: str, position: int, line: int) -> None:
        self.source = source
        self.position = position
        self.line = line
        self.trim = False
        self._depth = 0

    def _token(self, kind: str, length: int) -> Token:
        text = self.source[self.position : self.position + length]
        token = Token(kind, text, self.line, self.position)
        self.position += length
        self.line += text.count("\n")
        return token

    def tokens(self) -> Iterator[Token]:
        source = self.source
        while True:
            here = self.position
            char = source[here : here + 1]
            if not char:
                raise ParseError(self.line, "unclosed action")
            if char in _SPACES:
                end = here
                while source[end : end + 1] and source[end] in _SPACES:
                    end += 1
                if source.startswith("-" + RIGHT, end):
                    self._no_open_paren()
                    self.position = end + 3
                    self.trim = True
                    yield Token("right", RIGHT, self.line, end)
                    return
                yield self._token("space", end - here)
            elif source.startswith(RIGHT, here):
                self._no_open_paren()
                yield self._token("right", 2)
                return
            else:
                yield self._next(char)

    def _no_open_paren(self) -> None:
        if self._depth:
            raise ParseError(self.line, "unclosed left paren")

    def _next(self, char: str) -> Token:
        here = self.position
        if char in _ONE_CHARACTER:
            return self._token(_ONE_CHARACTER[char], 1)
        if char in "()":
            return self._paren(char)
        if char in "\"'":
            return self._quoted(char)
        if char == "`":
            return self._raw()
        if char == ":":
            return self._declare()
        if char == "$":
            return self._token("variable", 1 + self._name_length(here + 1))
        if char == "." and not self.source[here + 1 : here + 2].isdigit():
            length = self._name_length(here + 1)
            return self._token("field", 1 + length) if length else self._token("dot", 1)
        if char in "+-." or char.isdigit():
            return self._number()
        if char == "_" or char.isalpha():
            return self._token("name", self._name_length(here))
        shown = f"U+{ord(char):04X}" + (f" {char!r}" if char.isprintable() else "")
        raise ParseError(self.line, f"unrecognized character in action: {shown}")

    def _paren(self, char: str) -> Token:
        self._depth += 1 if char == "(" else -1
        if self._depth < 0:
            raise ParseError(self.line, "unexpected right paren")
        return self._token("open" if char == "(" else "close", 1)

    def _raw(self) -> Token:
        end = self.source.find("`", self.position + 1)
        if end < 0:
            raise ParseError(self.line, "unterminated raw quoted string")
        return self._token("string", end + 1 - self.position)

    def _declare(self) -> Token:
        if not self.source.startswith(":=", self.position):
            raise ParseError(self.line, "expected :=")
        return self._token("declare", 2)

    def _name_length(self, start: int) -> int:
        end = start
        while (char := self.source[end : end + 1]) and (char == "_" or char.isalnum()):
            end += 1
        char = self.source[end : end + 1]
        ends = char in _NAME_ENDS or self.source.startswith(RIGHT, end)
        if end > start and char and not ends:
            raise ParseError(self.line, f"bad character U+{ord(char):04X} {char!r}")
        return end - start

    def _quoted(self, quote: str) -> Token:
        end = self.position + 1
        while True:
            char = self.source[end : end + 1]
            if char == "\\" and self.source[end + 1 : end + 2] not in ("", "\n"):
                end += 2
                continue
            if char in ("", "\n"):
                what = "quoted string" if quote == '"' else "character constant"
                raise ParseError(self.line, f"unterminated {what}")
            end += 1
            if char == quote:
                break
        return self._token("string" if quote == '"' else "char", end - self.position)

    def _number(self) -> Token:
        end = self.position + 1
        while (char := self.source[end : end + 1]) and (
            char.isalnum() or char in "_." or (char in "+-" and self.source[end - 1] in "eEpP")
        ):
            end += 1
        text = self.source[self.position : end]
        if text in ("+", "-") or not any(char.isdigit() for char in text):
            raise ParseError(self.line, f"bad number syntax: {text!r}".replace("'", '"'))
        return self._token("number", end - self.position)
