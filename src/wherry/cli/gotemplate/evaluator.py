"""Evaluates parsed templates over plain data.

Data are dicts, lists, strings, numbers, booleans and None, and objects that are a ``Record``.
A value may be callable: a method that takes arguments in the template.
"""

from __future__ import annotations

from wherry.cli.gotemplate.nodes import (
    Action,
    Break,
    Chain,
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
from wherry.golang import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from wherry.cli.gotemplate.nodes import Command, Node, Operand


class TemplateError(ValueError):
    """A template cannot be parsed or evaluated; the message is text/template's."""


class Record:
    """Data whose fields are computed when they are asked for, such as a row of a listing."""

    type_name = "record"

    def field(self, name: str) -> Any:
        """The value of a field, or a callable for one with arguments; raises KeyError."""
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """All fields without arguments, for ``json``."""
        raise NotImplementedError


class NoValue:
    """What a map answers for a key that it does not have."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key


class NilPointer:
    """A pointer to nothing, which prints differently from no value at all.

    ``key`` names a field that the answer leaves out; it is empty for an explicit null.
    """

    __slots__ = ("key",)

    def __init__(self, key: str = "") -> None:
        self.key = key


class NilList(list["Any"]):
    """A list that is not there: empty wherever it is used, and null as JSON."""


class NilMap(dict[str, "Any"]):
    """A map that is not there: empty wherever it is used, and null as JSON."""


class SelfPrinting(dict[str, "Any"]):
    """A map whose ``str`` is what is printed."""


class MissingKey(KeyError):
    """Raised by a ``missing`` hook: the field does not exist, and that is an error."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class CallFailed(ValueError):
    """A function refuses its arguments."""


class WrongCount(ValueError):
    """A function is given too few or too many arguments."""


def truth(value: Any) -> bool:
    """What ``if`` takes for true: not zero, not empty."""
    if isinstance(value, NoValue | NilPointer):
        return False
    return True if isinstance(value, Record) else bool(value)


def go_string(value: Any) -> str:
    """``value`` as Go's ``%v`` prints it."""
    if value is None or isinstance(value, NilPointer):
        return "<nil>"
    if isinstance(value, NoValue):
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, SelfPrinting):
        return str(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_string(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(go_string(item) for item in value) + "]"
    if isinstance(value, Record):
        return "{" + " ".join(go_string(item) for item in value.as_dict().values()) + "}"
    return str(value)


def _float(value: float) -> str:
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def type_name(value: Any) -> str:
    """Go's name for the type of ``value``."""
    if isinstance(value, Record):
        return value.type_name
    names: tuple[tuple[type, str], ...] = (
        (bool, "bool"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (dict, "map[string]interface {}"),
        (list, "[]interface {}"),
    )
    for kind, name in names:
        if isinstance(value, kind):
            return name
    return "<nil>"


class Evaluator:
    """One rendering of a template."""

    def __init__(
        self,
        name: str,
        source: str,
        functions: Mapping[str, Callable[..., Any]],
        missing: Callable[[dict[str, Any], str], Any],
        defined: Mapping[str, list[Node]],
    ) -> None:
        """``missing`` answers for keys that a dict lacks, or raises MissingKey."""
        self._name = self._executing = name
        self._defined = defined
        self._source = source
        self._functions = functions
        self._missing = missing
        self._variables: list[tuple[str, Any]] = []
        self._out: list[str] = []

    def render(self, nodes: list[Node], data: Any) -> str:
        """The text that ``nodes`` make of ``data``; raises TemplateError."""
        self._variables = [("$", data)]
        self._out = []
        self._walk(nodes, data)
        return "".join(self._out)

    def _fail(self, offset: int, shown: str, words: str) -> TemplateError:
        line = self._source.count("\n", 0, offset) + 1
        column = offset - (self._source.rfind("\n", 0, offset) + 1)
        return TemplateError(
            f"template: {self._name}:{line}:{column}: executing {quote(self._executing)} "
            f"at <{shown}>: {words}"
        )

    def _walk(self, nodes: list[Node], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._out.append(node.text)
            elif isinstance(node, Action):
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    self._out.append("<no value>" if value is None else go_string(value))
            elif isinstance(node, If | With):
                self._branch(node, dot)
            elif isinstance(node, Range):
                self._range(node, dot)
            elif isinstance(node, Include):
                self._include(node, dot)
            elif isinstance(node, Break):
                raise _Break
            elif isinstance(node, Continue):
                raise _Continue

    def _include(self, node: Include, dot: Any) -> None:
        nodes = self._defined.get(node.name)
        if nodes is None:
            words = f"template {quote(node.name)} not defined"
            raise self._fail(node.offset, node.shown, words)
        data = self._pipeline(node.pipeline, dot) if node.pipeline is not None else None
        variables, self._variables = self._variables, [("$", data)]
        executing, self._executing = self._executing, node.name
        try:
            self._walk(nodes, data)
        except RecursionError:
            words = "exceeded maximum template depth (100000)"
            raise self._fail(node.offset, node.shown, words) from None
        finally:
            self._variables, self._executing = variables, executing

    def _branch(self, node: If | With, dot: Any) -> None:
        mark = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        if truth(value):
            self._walk(node.body, value if isinstance(node, With) else dot)
        else:
            self._walk(node.otherwise, dot)
        del self._variables[mark:]

    def _range(self, node: Range, dot: Any) -> None:
        mark = len(self._variables)
        value = self._pipeline(node.pipeline, dot, declare=False)
        pairs = self._pairs(node.pipeline, value)
        if not pairs:
            self._walk(node.otherwise, dot)
        for key, item in pairs:
            names = node.pipeline.variables
            given = [item] if len(names) == 1 else [key, item]
            for name, content in zip(names, given, strict=False):
                self._set(name, content, assign=node.pipeline.assigns)
            try:
                self._walk(node.body, item)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                del self._variables[mark:]

    def _pairs(self, pipeline: Pipeline, value: Any) -> list[tuple[Any, Any]]:
        if value is None or isinstance(value, NoValue | NilPointer):
            return []
        if isinstance(value, dict):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, list | tuple):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            return [(number, number) for number in range(value)]
        raise self._fail(
            pipeline.offset, pipeline.shown, f"range can't iterate over {go_string(value)}"
        )

    def _set(self, name: str, value: Any, *, assign: bool) -> None:
        if assign:
            for index in range(len(self._variables) - 1, -1, -1):
                if self._variables[index][0] == name:
                    self._variables[index] = (name, value)
                    return
        self._variables.append((name, value))

    def _pipeline(self, pipeline: Pipeline, dot: Any, *, declare: bool = True) -> Any:
        value: Any = None
        for index, command in enumerate(pipeline.commands):
            final = [value] if index else []
            value = self._command(command, dot, final)
        if declare:
            for name in pipeline.variables:
                self._set(name, value, assign=pipeline.assigns)
        return value

    def _command(self, command: Command, dot: Any, final: list[Any]) -> Any:
        first, rest = command.operands[0], command.operands[1:]
        if isinstance(first, Function):
            return self._call(first, command, rest, dot, final)
        if isinstance(first, Field | Variable | Chain):
            arguments = [self._operand(operand, dot) for operand in rest] + final
            return self._fields_of(first, dot, arguments, has_arguments=bool(rest or final))
        if isinstance(first, Pipeline):
            return self._pipeline(first, dot)
        if isinstance(first, Nil):
            raise self._fail(self._source.find("nil"), "nil", "nil is not a command")
        if rest:
            raise self._fail(0, first.shown, f"can't give argument to non-function {first.shown}")
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Any) -> Any:
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Dot):
            return dot
        if isinstance(operand, Nil):
            return None
        if isinstance(operand, Pipeline):
            return self._pipeline(operand, dot)
        if isinstance(operand, Function):
            return self._invoke(operand, operand.name, [])
        return self._fields_of(operand, dot, [], has_arguments=False)

    def _fields_of(
        self,
        node: Field | Variable | Chain,
        dot: Any,
        arguments: list[Any],
        *,
        has_arguments: bool,
    ) -> Any:
        if isinstance(node, Field):
            value = dot
        elif isinstance(node, Variable):
            value = next(v for name, v in reversed(self._variables) if name == node.name)
            if not node.names and has_arguments:
                raise self._fail(
                    node.offset, node.shown, f"can't give argument to non-function {node.shown}"
                )
        else:
            value = self._operand(node.operand, dot)
        for index, name in enumerate(node.names):
            last = index == len(node.names) - 1
            given = arguments if last else []
            value = self._field(node, value, name, given, has_arguments=last and has_arguments)
        return value

    def _field(
        self,
        node: Field | Variable | Chain,
        value: Any,
        name: str,
        arguments: list[Any],
        *,
        has_arguments: bool,
    ) -> Any:
        if isinstance(value, NoValue) or (isinstance(value, NilPointer) and value.key):
            raise self._fail(
                node.offset, node.shown, f"map has no entry for key {quote(value.key)}"
            )
        if isinstance(value, dict):
            if name in value:
                found = value[name]
            else:
                try:
                    found = self._missing(value, name)
                except MissingKey:
                    raise self._fail(
                        node.offset, node.shown, f"map has no entry for key {quote(name)}"
                    ) from None
        elif isinstance(value, Record):
            try:
                found = value.field(name)
            except KeyError:
                raise self._fail(
                    node.offset,
                    node.shown,
                    f"can't evaluate field {name} in type {value.type_name}",
                ) from None
        elif value is None or isinstance(value, NilPointer):
            raise self._fail(
                node.offset, node.shown, f"nil pointer evaluating interface {{}}.{name}"
            )
        else:
            raise self._fail(
                node.offset,
                node.shown,
                f"can't evaluate field {name} in type {type_name(value)}",
            )
        if callable(found):
            try:
                return found(*arguments)
            except TypeError:
                raise self._fail(
                    node.offset,
                    node.shown,
                    f"wrong number of args for {name}: want 1 got {len(arguments)}",
                ) from None
        if has_arguments:
            raise self._fail(
                node.offset,
                node.shown,
                f"{name} has arguments but cannot be invoked as function",
            )
        return found

    def _call(
        self,
        function: Function,
        command: Command,
        rest: list[Operand],
        dot: Any,
        final: list[Any],
    ) -> Any:
        if function.name in ("and", "or"):
            return self._logical(function, rest, dot, final)
        arguments = [self._operand(operand, dot) for operand in rest] + final
        return self._invoke(function, command.shown, arguments)

    def _logical(self, function: Function, rest: list[Operand], dot: Any, final: list[Any]) -> Any:
        """``and`` and ``or`` stop at the first argument that decides."""
        if not rest and not final:
            raise self._fail(
                function.offset,
                function.name,
                f"wrong number of args for {function.name}: want at least 1 got 0",
            )
        value: Any = None
        for operand in rest:
            value = self._operand(operand, dot)
            if truth(value) == (function.name == "or"):
                return value
        return final[0] if final else value

    def _invoke(self, function: Function, shown: str, arguments: Iterable[Any]) -> Any:
        try:
            return self._functions[function.name](*arguments)
        except WrongCount as error:
            raise self._fail(
                function.offset,
                function.name,
                f"wrong number of args for {function.name}: {error}",
            ) from None
        except CallFailed as error:
            raise self._fail(
                function.offset, shown, f"error calling {function.name}: {error}"
            ) from None
