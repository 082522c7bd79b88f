"""The functions of templates: text/template's own and those that Docker adds."""

from __future__ import annotations

import json as _json

from wherry.cli.gotemplate.evaluator import (
    CallFailed,
    NilList,
    NilMap,
    NilPointer,
    NoValue,
    Record,
    WrongCount,
    go_string,
    truth,
    type_name,
)
from wherry.cli.gotemplate.printing import sprintf
from wherry.golang import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def to_json(value: Any) -> str:
    """``value`` as JSON without spaces."""
    if isinstance(value, NoValue | NilPointer):
        return "null"
    if isinstance(value, Record):
        # Rows of listings go through Go's json.Marshal, which escapes what HTML would take.
        text = to_json(value.as_dict())
        for char in "<>&":
            text = text.replace(char, f"\\u{ord(char):04x}")
        return text
    value = _with_nulls(value)
    return _json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _with_nulls(value: Any) -> Any:
    """``value`` with None for the lists and maps that are not there."""
    if isinstance(value, NilList | NilMap):
        return None
    if isinstance(value, dict):
        return {name: _with_nulls(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_nulls(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, NilPointer):
        return None
    if isinstance(value, Record):
        return value.as_dict()
    raise TypeError(f"unsupported value {value!r}")


def _text(value: Any, position: str = "value") -> str:
    if not isinstance(value, str):
        raise CallFailed(f"wrong type for {position}; expected string; got {type_name(value)}")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CallFailed(f"cannot index slice/array with type {type_name(value)}")
    return value


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | tuple | dict):
        return len(value)
    if value is None:
        raise CallFailed("len of nil pointer")
    raise CallFailed(f"len of type {type_name(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            name = key if key in value or not isinstance(key, int) else str(key)
            value = value[name] if name in value else NoValue(str(key))
        elif isinstance(value, list | tuple | str):
            items = value.encode() if isinstance(value, str) else value
            position = _integer(key)
            if not 0 <= position < len(items):
                raise CallFailed(f"index out of range: {position}")
            value = items[position]
        elif value is None or isinstance(value, NoValue):
            raise CallFailed("index of untyped nil")
        else:
            raise CallFailed(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise CallFailed(f"can't slice item of type {type_name(value)}")
    if len(bounds) > 3 or (len(bounds) == 3 and isinstance(value, str)):
        raise CallFailed(
            "cannot 3-index slice a string"
            if isinstance(value, str)
            else f"too many slice indexes: {len(bounds)}"
        )
    numbers = [_integer(bound) for bound in bounds]
    size = _length(value)
    for number in numbers:
        if not 0 <= number <= size:
            raise CallFailed(f"index out of range: {number}")
    start = numbers[0] if numbers else 0
    end = numbers[1] if len(numbers) > 1 else size
    if start > end:
        raise CallFailed(f"invalid slice index: {start} > {end}")
    if isinstance(value, str):
        return value.encode()[start:end].decode("utf-8", "replace")
    return value[start:end]


def _basic(value: Any) -> str:
    """The kind that comparisons know of."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "float"
    return "string" if isinstance(value, str) else "other"


def _equal_pair(left: Any, right: Any) -> bool:
    if left is None or right is None or isinstance(left, NoValue) or isinstance(right, NoValue):
        return (left is None or isinstance(left, NoValue)) == (
            right is None or isinstance(right, NoValue)
        )
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        raise CallFailed("non-comparable type")
    if _basic(left) != _basic(right):
        raise CallFailed("incompatible types for comparison")
    return bool(left == right)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise CallFailed("missing argument for comparison")
    return any(_equal_pair(first, other) for other in others)


def _less(left: Any, right: Any) -> bool:
    kinds = _basic(left), _basic(right)
    if "other" in kinds or "bool" in kinds:
        raise CallFailed("invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise CallFailed("incompatible types for comparison")
    return bool(left < right)


def sprint(*values: Any) -> str:
    """Spaces stand between two values when neither is a string."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(go_string(value))
    return "".join(parts)


def _printf(form: Any, *values: Any) -> str:
    return sprintf(_text(form, "value"), list(values))


_HTML = {"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JS = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}


def _html(*values: Any) -> str:
    return "".join(_HTML.get(char, char) for char in sprint(*values))


def _js(*values: Any) -> str:
    result = []
    for char in sprint(*values):
        if char in _JS:
            result.append(_JS[char])
        elif ord(char) < 32:
            result.append(f"\\u{ord(char):04X}")
        else:
            result.append(char)
    return "".join(result)


def _url_query(*values: Any) -> str:
    from wherry.client.api import quote as percent

    return percent(sprint(*values), safe=" ").replace(" ", "+")


def _title(value: Any) -> str:
    text, result, start = _text(value), [], True
    for char in text:
        result.append(char.title() if start else char)
        start = not (char.isalnum() or char in "_'")
    return "".join(result)


def _join(values: Any, separator: Any) -> str:
    if values is None or isinstance(values, NoValue):
        return ""
    if not isinstance(values, list | tuple):
        raise CallFailed(f"wrong type for value; expected []string; got {type_name(values)}")
    return _text(separator).join(go_string(value) for value in values)


def _pad(value: Any, left: Any, right: Any) -> str:
    text = _text(value)
    return text if not text else " " * _integer(left) + text + " " * _integer(right)


def _truncate(value: Any, length: Any) -> str:
    return _text(value)[: max(_integer(length), 0)]


def _call(function: Any = None, *arguments: Any) -> Any:
    if not callable(function):
        raise CallFailed(f"non-function {go_string(function)} of type {type_name(function)}")
    return function(*arguments)


def _counted(low: int, high: int | None, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for ``low`` to ``high`` arguments (None: any number)."""

    def call(*arguments: Any) -> Any:
        if len(arguments) < low or (high is not None and len(arguments) > high):
            want = str(low) if high == low else f"at least {low}"
            raise WrongCount(f"want {want} got {len(arguments)}")
        return function(*arguments)

    return call


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "not": _counted(1, 1, lambda value: not truth(value)),
    "len": _counted(1, 1, _length),
    "index": _counted(1, None, _index),
    "slice": _counted(1, None, _slice),
    "print": sprint,
    "println": lambda *values: " ".join(go_string(value) for value in values) + "\n",
    "printf": _counted(1, None, _printf),
    "html": _html,
    "js": _js,
    "urlquery": _url_query,
    "call": _call,
    "eq": _counted(1, None, _equal),
    "ne": _counted(2, 2, lambda left, right: not _equal_pair(left, right)),
    "lt": _counted(2, 2, _less),
    "le": _counted(2, 2, lambda left, right: _less(left, right) or _equal_pair(left, right)),
    "gt": _counted(2, 2, lambda left, right: _less(right, left)),
    "ge": _counted(2, 2, lambda left, right: _less(right, left) or _equal_pair(left, right)),
    "json": _counted(1, 1, to_json),
    "split": _counted(2, 2, lambda text, separator: _text(text).split(_text(separator))),
    "join": _counted(2, 2, _join),
    "title": _counted(1, 1, _title),
    "lower": _counted(1, 1, lambda text: _text(text).lower()),
    "upper": _counted(1, 1, lambda text: _text(text).upper()),
    "pad": _counted(3, 3, _pad),
    "truncate": _counted(2, 2, _truncate),
}

__all__ = ["FUNCTIONS", "quote", "sprint", "to_json"]
