"""Listings: rows through a template, in columns where a table is asked for."""

from __future__ import annotations

import sys

from wherry.cli.errors import CliError
from wherry.cli.gotemplate import Template, TemplateError
from wherry.cli.gotemplate.evaluator import NoValue, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TextIO

TABLE = "table"
JSON = "{{json .}}"
_MIN_WIDTH, _PADDING = 10, 3


class Row(Record):
    """One line of a listing; values are computed when a template asks for them."""

    __slots__ = ("_fields", "_label", "type_name")

    def __init__(
        self,
        type_name: str,
        fields: Mapping[str, Callable[[], Any]],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """``labels`` make ``.Label "name"`` work."""
        self.type_name = f"*formatter.{type_name}"
        self._fields = fields
        self._label = labels

    def field(self, name: str) -> Any:
        """The value of a column."""
        if name == "Label" and self._label is not None:
            return lambda key: (self._label or {}).get(key, "")
        return self._fields[name]()

    def as_dict(self) -> dict[str, Any]:
        """All columns by name, in alphabetical order, as JSON shows them."""
        return {name: self._fields[name]() for name in sorted(self._fields)}


class _Header(Record):
    """What a table's template makes the headline of."""

    type_name = "formatter.SubHeaderContext"

    def __init__(self, titles: Mapping[str, str], *, labels: bool) -> None:
        self._titles = titles
        self._labels = labels

    def field(self, name: str) -> Any:
        if name == "Label" and self._labels:
            return _label_title
        return self._titles.get(name, NoValue(name))

    def as_dict(self) -> dict[str, Any]:
        return dict(self._titles)


def _label_title(name: str) -> str:
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def columns(lines: list[str], padding: int = _PADDING, minimum: int = _MIN_WIDTH) -> str:
    """Align tab-separated cells; a column reaches over neighbouring lines that have it."""
    rows = [line.split("\t") for line in lines]
    widths: list[list[int]] = [[0] * (len(row) - 1) for row in rows]
    depth = max((len(row) for row in rows), default=1) - 1
    for column in range(depth):
        start = 0
        while start < len(rows):
            if len(rows[start]) - 1 <= column:
                start += 1
                continue
            end = start
            while end < len(rows) and len(rows[end]) - 1 > column:
                end += 1
            widest = max(len(rows[index][column]) for index in range(start, end))
            width = max(widest + padding, minimum) if widest else 0
            for index in range(start, end):
                widths[index][column] = width
            start = end
    out = []
    for row, cells in zip(rows, widths, strict=True):
        padded = [text.ljust(width) for text, width in zip(row, cells, strict=False)]
        out.append("".join([*padded, row[-1]]) + "\n")
    return "".join(out)


def template(text: str, name: str = "") -> Template:
    """A template for ``--format``; raises CliError in Docker's words."""
    try:
        return Template(text.replace("\\t", "\t").replace("\\n", "\n"), name)
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}", 64) from None


def listing(
    rows: Iterable[Row],
    titles: Mapping[str, str],
    form: str,
    default_table: str,
    *,
    quiet: bool = False,
    quiet_form: str = "{{.ID}}",
    labels: bool = False,
    raw: str = "",
    out: TextIO | None = None,
) -> None:
    """Print rows in the form that ``--format`` and ``--quiet`` ask for.

    ``form`` is empty, ``table``, ``table TEMPLATE``, ``json`` or a template; ``default_table`` is
    the template of the columns shown without one, ``raw`` that of the form of this name.
    """
    target = out or sys.stdout
    is_table = not form or form.startswith(TABLE)
    if is_table:
        body = form[len(TABLE) :].strip() if form else ""
        if quiet and not body:
            is_table, body = False, quiet_form
        else:
            body = body or default_table
    else:
        body = JSON if form == "json" else raw if form == "raw" and raw else form
    parsed = template(body)
    try:
        lines = [parsed.render(row) for row in rows]
        if is_table:
            lines.insert(0, parsed.render(_Header(titles, labels=labels)))
            target.write(columns(lines))
        else:
            target.write("".join(f"{line}\n" for line in lines))
    except TemplateError as error:
        raise CliError(f"template parsing error: {error}") from None


def ellipsis(text: str, length: int) -> str:
    """``text``, or its beginning and an ellipsis, in at most ``length`` characters."""
    if len(text) <= length:
        return text
    return text[: length - 1] + "…" if length > 1 else text[:length]


def short_id(identity: str) -> str:
    """The first twelve digits of an id, without the name of its algorithm."""
    return identity.partition(":")[2][:12] if ":" in identity else identity[:12]


def joined(labels: Mapping[str, str] | None) -> str:
    """Labels as ``a=b,c=d``."""
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items()))
