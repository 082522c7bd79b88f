"""What a parsed template consists of."""

from __future__ import annotations

from wherry.golang import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Node: TypeAlias = "Text | Action | If | Range | With | Include | Break | Continue"
    Operand: TypeAlias = "Literal | Dot | Nil | Field | Variable | Function | Chain | Pipeline"


class Text:
    """Characters that are printed as they are."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Literal:
    """A string, number or character; ``shown`` is how it was written."""

    __slots__ = ("shown", "value")

    def __init__(self, value: Any, shown: str) -> None:
        self.value = value
        self.shown = shown


class Dot:
    """``.``"""

    __slots__ = ()
    shown = "."


class Nil:
    """``nil``"""

    __slots__ = ()
    shown = "nil"


class Field:
    """``.A.B.C``"""

    __slots__ = ("names", "offset")

    def __init__(self, names: list[str], offset: int) -> None:
        self.names = names
        self.offset = offset

    @property
    def shown(self) -> str:
        """As it is written."""
        return "".join(f".{name}" for name in self.names)


class Variable:
    """``$x`` or ``$x.A.B``; ``$`` alone is the data that the template was given."""

    __slots__ = ("name", "names", "offset")

    def __init__(self, name: str, names: list[str], offset: int) -> None:
        self.name = name
        self.names = names
        self.offset = offset

    @property
    def shown(self) -> str:
        """As it is written."""
        return self.name + "".join(f".{name}" for name in self.names)


class Function:
    """The name of a function."""

    __slots__ = ("name", "offset")

    def __init__(self, name: str, offset: int) -> None:
        self.name = name
        self.offset = offset

    @property
    def shown(self) -> str:
        """As it is written."""
        return self.name


class Chain:
    """Fields of a parenthesised pipeline: ``(index .A 0).B``"""

    __slots__ = ("names", "offset", "operand")

    def __init__(self, operand: Operand, names: list[str], offset: int) -> None:
        self.operand = operand
        self.names = names
        self.offset = offset

    @property
    def shown(self) -> str:
        """As it is written."""
        return f"({self.operand.shown})" + "".join(f".{name}" for name in self.names)


class Command:
    """An operand with its arguments: one section of a pipeline."""

    __slots__ = ("operands",)

    def __init__(self, operands: list[Operand]) -> None:
        self.operands = operands

    @property
    def shown(self) -> str:
        """As it is written."""
        return " ".join(
            f"({operand.shown})" if isinstance(operand, Pipeline) else operand.shown
            for operand in self.operands
        )


class Pipeline:
    """``$x, $y := a | b``: commands, and the variables that take the result."""

    __slots__ = ("assigns", "commands", "line", "offset", "variables")

    def __init__(
        self,
        commands: list[Command],
        variables: list[str],
        *,
        assigns: bool,
        line: int,
        offset: int,
    ) -> None:
        self.commands = commands
        self.variables = variables
        self.assigns = assigns
        self.line = line
        self.offset = offset

    @property
    def shown(self) -> str:
        """As it is written."""
        body = " | ".join(command.shown for command in self.commands)
        if not self.variables:
            return body
        sign = "=" if self.assigns else ":="
        return f"{', '.join(self.variables)} {sign} {body}"


class Action:
    """``{{pipeline}}``"""

    __slots__ = ("pipeline",)

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline


class Include:
    """``{{template "name" pipeline}}``: another template, with the pipeline's value as its data."""

    __slots__ = ("name", "offset", "pipeline")

    def __init__(self, name: str, pipeline: Pipeline | None, offset: int) -> None:
        self.name = name
        self.pipeline = pipeline
        self.offset = offset

    @property
    def shown(self) -> str:
        """As it is written."""
        given = f" {self.pipeline.shown}" if self.pipeline is not None else ""
        return f"{{{{template {quote(self.name)}{given}}}}}"


class Break:
    """``{{break}}``"""

    __slots__ = ()


class Continue:
    """``{{continue}}``"""

    __slots__ = ()


class _Branch:
    __slots__ = ("body", "otherwise", "pipeline")

    def __init__(self, pipeline: Pipeline, body: list[Node], otherwise: list[Node]) -> None:
        self.pipeline = pipeline
        self.body = body
        self.otherwise = otherwise


class If(_Branch):
    """``{{if p}} … {{else}} … {{end}}``"""


class Range(_Branch):
    """``{{range p}} … {{else}} … {{end}}``"""


class With(_Branch):
    """``{{with p}} … {{else}} … {{end}}``"""
