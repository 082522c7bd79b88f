"""A parsed template, ready to be rendered many times."""

from __future__ import annotations

from wherry.cli.gotemplate.evaluator import Evaluator, MissingKey, TemplateError
from wherry.cli.gotemplate.functions import FUNCTIONS
from wherry.cli.gotemplate.lexer import ParseError
from wherry.cli.gotemplate.parser import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.cli.gotemplate.nodes import Node


def no_such_field(data: dict[str, Any], name: str) -> Any:
    """The strict answer for a key that is missing; ``ID`` and ``Id`` count as the same name."""
    folded = name.lower()
    for key, value in data.items():
        if key.lower() == folded:
            return value
    raise MissingKey(name)


class Template:
    """A template of text/template with Docker's functions."""

    __slots__ = ("_defined", "_name", "_nodes", "_source")

    def __init__(self, source: str, name: str = "") -> None:
        """Parse ``source``; raises TemplateError. ``name`` appears in error messages."""
        self._name = name
        self._source = source
        try:
            self._nodes, self._defined = parse(source, FUNCTIONS)
        except ParseError as error:
            raise TemplateError(
                str(error).replace("template: :", f"template: {name}:", 1)
            ) from None

    @property
    def nodes(self) -> list[Node]:
        """The parsed nodes."""
        return self._nodes

    def render(
        self,
        data: Any,
        missing: Callable[[dict[str, Any], str], Any] = no_such_field,
    ) -> str:
        """The text for ``data``; raises TemplateError.

        ``missing`` answers for keys that a dict does not have, or raises MissingKey.
        """
        evaluator = Evaluator(self._name, self._source, FUNCTIONS, missing, self._defined)
        return evaluator.render(self._nodes, data)
