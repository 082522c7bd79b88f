"""From tokens to nodes."""

from __future__ import annotations

from wherry.cli.gotemplate.lexer import KEYWORDS, ParseError, Token, tokens
from wherry.cli.gotemplate.nodes import (
    Action,
    Break,
    Chain,
    Command,
    Continue,
    Dot,
    Field,
    Function,
    If,
    Include,
    Literal,
    Nil,
    Pipeline,
    Range,
    Text,
    Variable,
    With,
)
from wherry.golang import parse_int, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from wherry.cli.gotemplate.nodes import Node, Operand

_BRANCHES: dict[str, type[If | Range | With]] = {"if": If, "range": Range, "with": With}
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HEX_LENGTHS = {"x": 2, "u": 4, "U": 8}


def parse(source: str, functions: Container[str]) -> tuple[list[Node], dict[str, list[Node]]]:
    """The nodes of a template, and those of the templates that it defines, by name.

    ``functions`` are the functions' names. Raises ParseError.
    """
    parser = _Parser(source, functions)
    return parser.template(), parser.defined


def unquote(text: str, line: int) -> str:
    """The value of a quoted or raw string; raises ParseError."""
    if text[0] == "`":
        return text[1:-1].replace("\r", "")
    body, result, index = text[1:-1], [], 0
    while index < len(body):
        char = body[index]
        index += 1
        if char != "\\":
            result.append(char)
            continue
        escape = body[index]
        index += 1
        if escape in _ESCAPES:
            result.append(_ESCAPES[escape])
        elif escape in "\\\"'":
            result.append(escape)
        elif escape in _HEX_LENGTHS or escape in "01234567":
            length = _HEX_LENGTHS.get(escape, 2)
            digits = body[index : index + length]
            index += length
            try:
                number = int(digits, 16) if escape in _HEX_LENGTHS else int(escape + digits, 8)
                result.append(chr(number))
            except (ValueError, OverflowError):
                raise ParseError(line, f"invalid syntax: {text}") from None
        else:
            raise ParseError(line, "invalid syntax")
    return "".join(result)


def _number(text: str, line: int) -> int | float:
    try:
        return parse_int(text.replace("_", ""))
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise ParseError(line, f"bad number syntax: {quote(text)}") from None


def _is_empty(nodes: list[Node]) -> bool:
    """Whether a template prints nothing but space: then another of its name may replace it."""
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)


class _Parser:
    def __init__(self, source: str, functions: Container[str]) -> None:
        self._tokens = tokens(source)
        self._functions = functions
        self._ahead: list[Token] = []
        self._variables = ["$"]
        self._loops = 0
        self._depth = 0
        self.defined: dict[str, list[Node]] = {}

    def _next(self) -> Token:
        return self._ahead.pop() if self._ahead else next(self._tokens)

    def _back(self, token: Token) -> None:
        self._ahead.append(token)

    def _next_solid(self) -> Token:
        token = self._next()
        while token.kind == "space":
            token = self._next()
        return token

    def _unexpected(self, token: Token, where: str) -> ParseError:
        shown = {"end": "EOF", "right": '"}}"'}.get(token.kind)
        if shown is None:
            if token.kind == "name" and token.text in KEYWORDS:
                shown = f"<{token.text}>" if token.text != "nil" else "<nil>"
            else:
                shown = f"<{token.text}>" if token.kind == "dot" else quote(token.text)
                if len(token.text) > 10:
                    shown = f"{quote(token.text[:10])}..."
        return ParseError(token.line, f"unexpected {shown} in {where}")

    def template(self) -> list[Node]:
        nodes, ending = self._list()
        if ending is not None and ending.kind != "end":
            raise ParseError(ending.line, f"unexpected {{{{{ending.text}}}}}")
        return nodes

    def _list(self) -> tuple[list[Node], Token | None]:
        """Nodes up to ``{{end}}``, ``{{else …}}`` or the end of the text."""
        nodes: list[Node] = []
        while True:
            token = self._next()
            if token.kind == "end":
                return nodes, token
            if token.kind == "text":
                nodes.append(Text(token.text))
                continue
            first = self._next_solid()
            if first.kind == "name" and first.text in ("end", "else"):
                return nodes, first
            if first.kind == "name" and first.text == "define":
                if self._depth:
                    raise self._unexpected(first, "command")
                self._define()
                continue
            nodes.append(self._action(first))

    def _action(self, first: Token) -> Node:
        if first.kind == "name":
            if first.text in _BRANCHES:
                return self._branch(first.text)
            if first.text in ("break", "continue"):
                if not self._loops:
                    raise ParseError(first.line, f"{{{{{first.text}}}}} outside {{{{range}}}}")
                self._close(first.text)
                return Break() if first.text == "break" else Continue()
            if first.text == "template":
                return self._include()
            if first.text == "block":
                return self._block()
        self._back(first)
        return Action(self._pipeline("command", "right"))

    def _template_name(self, where: str) -> tuple[str, int]:
        """The name, and where it stands."""
        token = self._next_solid()
        if token.kind != "string":
            raise self._unexpected(token, where)
        return unquote(token.text, token.line), token.offset

    def _include(self) -> Include:
        name, offset = self._template_name("template clause")
        token = self._next_solid()
        if token.kind == "right":
            return Include(name, None, offset)
        self._back(token)
        return Include(name, self._pipeline("template clause", "right"), offset)

    def _define(self) -> None:
        name, _ = self._template_name("define clause")
        token = self._next_solid()
        if token.kind != "right":
            raise self._unexpected(token, "define clause")
        self._definition(name)

    def _block(self) -> Include:
        """A definition and its use at once."""
        name, offset = self._template_name("block clause")
        pipeline = self._pipeline("block clause", "right")
        self._definition(name)
        return Include(name, pipeline, offset)

    def _definition(self, name: str) -> None:
        """The body of a template up to its end; variables and loops around it do not reach in."""
        variables, self._variables = self._variables, ["$"]
        loops, self._loops = self._loops, 0
        self._depth += 1
        nodes, ending = self._list()
        self._depth -= 1
        self._variables, self._loops = variables, loops
        if ending is None or ending.kind == "end":
            raise ParseError(ending.line if ending else 1, "unexpected EOF")
        if ending.text != "end":
            raise ParseError(ending.line, f"unexpected {{{{{ending.text}}}}} in define clause")
        self._close("end")
        if _is_empty(self.defined.get(name, [])):
            self.defined[name] = nodes
        elif not _is_empty(nodes):
            raise ParseError(
                ending.line, f"template: multiple definition of template {quote(name)}"
            )

    def _close(self, where: str) -> None:
        token = self._next_solid()
        if token.kind != "right":
            raise self._unexpected(token, f"{{{{{where}}}}}")

    def _branch(self, kind: str) -> Node:
        scope = len(self._variables)
        pipeline = self._pipeline(kind, "right", ranges=kind == "range")
        self._loops += kind == "range"
        self._depth += 1
        body, ending = self._list()
        self._loops -= kind == "range"
        self._depth -= 1
        otherwise: list[Node] = []
        if ending is not None and ending.kind == "name" and ending.text == "else":
            following = self._next_solid()
            if following.kind == "name" and following.text == kind and kind != "range":
                otherwise = [self._branch(kind)]
                del self._variables[scope:]
                return _BRANCHES[kind](pipeline, body, otherwise)
            if following.kind != "right":
                raise self._unexpected(following, "{{else}}")
            self._depth += 1
            otherwise, ending = self._list()
            self._depth -= 1
        if ending is None or ending.kind == "end":
            line = ending.line if ending else 1
            raise ParseError(line, "unexpected EOF")
        if ending.text != "end":
            raise ParseError(ending.line, f"expected end; found {{{{{ending.text}}}}}")
        self._close("end")
        del self._variables[scope:]
        return _BRANCHES[kind](pipeline, body, otherwise)

    def _pipeline(self, where: str, closing: str, *, ranges: bool = False) -> Pipeline:
        first = self._next_solid()
        line, offset = first.line, first.offset
        variables, assigns = self._declarations(first, where, ranges=ranges)
        if not variables:
            self._back(first)
        commands: list[Command] = []
        while True:
            token = self._next_solid()
            if token.kind == closing:
                if not commands:
                    raise ParseError(token.line, f"missing value for {where}")
                break
            self._back(token)
            command, more = self._command(where, closing)
            commands.append(command)
            if not more:
                break
        for command in commands[1:]:
            if isinstance(command.operands[0], Literal | Dot | Nil):
                raise ParseError(
                    line,
                    f"non executable command in pipeline stage {commands.index(command) + 1}",
                )
        if not assigns:
            self._variables += variables
        return Pipeline(commands, variables, assigns=assigns, line=line, offset=offset)

    def _declarations(self, first: Token, where: str, *, ranges: bool) -> tuple[list[str], bool]:
        """``$x :=``, ``$x =`` and, for range, ``$i, $x :=`` in front of a pipeline."""
        if first.kind != "variable":
            return [], False
        second = self._next()
        spaces = [second] if second.kind == "space" else []
        if spaces:
            second = self._next()
        if second.kind in ("declare", "assign"):
            if second.kind == "assign":
                self._known(first)
            return [first.text], second.kind == "assign"
        if second.kind == "comma" and ranges:
            other = self._next_solid()
            sign = self._next_solid()
            if other.kind == "variable" and sign.kind in ("declare", "assign"):
                return [first.text, other.text], sign.kind == "assign"
            raise self._unexpected(sign, "range")
        if second.kind == "comma":
            raise ParseError(first.line, f"too many declarations in {where}")
        self._back(second)
        for space in spaces:
            self._back(space)
        return [], False

    def _known(self, token: Token) -> None:
        if token.text not in self._variables:
            raise ParseError(token.line, f"undefined variable {quote(token.text)}")

    def _command(self, where: str, closing: str) -> tuple[Command, bool]:
        """One command, and whether another follows after ``|``."""
        operands: list[Operand] = []
        while True:
            token = self._next_solid()
            if token.kind == "pipe":
                if not operands:
                    raise ParseError(token.line, f"missing value for {where}")
                follow = self._next_solid()
                if follow.kind == closing:
                    raise ParseError(follow.line, f"missing value for {where}")
                self._back(follow)
                return Command(operands), True
            if token.kind == closing:
                return Command(operands), False
            operand = self._operand(token)
            if operand is None:
                raise self._unexpected(token, "operand" if operands else where)
            operands.append(operand)
            follow = self._next()
            if follow.kind not in ("space", "pipe", closing):
                raise self._unexpected(follow, "operand")
            self._back(follow)

    def _operand(self, token: Token) -> Operand | None:
        term = self._term(token)
        if term is None:
            return None
        names: list[str] = []
        offset = token.offset
        while (follow := self._next()).kind == "field":
            if not names:
                offset = follow.offset  # where text/template places errors of the whole chain
            names.append(follow.text[1:])
        self._back(follow)
        if not names:
            return term
        if isinstance(term, Field):
            return Field(term.names + names, offset)
        if isinstance(term, Variable):
            return Variable(term.name, term.names + names, offset)
        if isinstance(term, Literal | Nil | Dot):
            raise ParseError(token.line, f"unexpected . after term {quote(term.shown)}")
        return Chain(term, names, offset)

    def _term(self, token: Token) -> Operand | None:
        kind, text = token.kind, token.text
        if kind == "dot":
            return Dot()
        if kind == "field":
            return Field([text[1:]], token.offset)
        if kind == "variable":
            self._known(token)
            return Variable(text, [], token.offset)
        if kind == "string":
            return Literal(unquote(text, token.line), text)
        if kind == "char":
            return Literal(ord(unquote(text, token.line)), text)
        if kind == "number":
            return Literal(_number(text, token.line), text)
        if kind == "name":
            return self._name(token)
        if kind == "open":
            return self._pipeline("parenthesized pipeline", "close")
        return None

    def _name(self, token: Token) -> Operand | None:
        if token.text in ("true", "false"):
            return Literal(token.text == "true", token.text)
        if token.text == "nil":
            return Nil()
        if token.text in KEYWORDS:
            return None
        if token.text not in self._functions:
            raise ParseError(token.line, f"function {quote(token.text)} not defined")
        return Function(token.text, token.offset)
