"""``printf`` with Go's verbs."""

from __future__ import annotations

from wherry.cli.gotemplate.evaluator import go_string, type_name
from wherry.golang import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INTEGER_VERBS = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X"}
_FLOAT_VERBS = frozenset("eEfFgG")


def sprintf(form: str, values: list[Any]) -> str:
    """Format ``values``; mistakes show in the output, as they do in Go (``%!d(string=x)``)."""
    out: list[str] = []
    index = taken = 0
    while index < len(form):
        char = form[index]
        index += 1
        if char != "%":
            out.append(char)
            continue
        flags = ""
        while index < len(form) and form[index] in "+-# 0":
            flags += form[index]
            index += 1
        width, index, taken = _number(form, index, values, taken)
        precision: int | None = None
        if index < len(form) and form[index] == ".":
            precision, index, taken = _number(form, index + 1, values, taken)
            precision = precision or 0
        if index >= len(form):
            out.append("%!(NOVERB)")
            break
        verb = form[index]
        index += 1
        if verb == "%":
            out.append("%")
        elif taken >= len(values):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_pad(_format(verb, values[taken], flags, precision), width, flags, verb))
            taken += 1
    if taken < len(values):
        extra = ", ".join(f"{type_name(v)}={go_string(v)}" for v in values[taken:])
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _number(form: str, index: int, values: list[Any], taken: int) -> tuple[int | None, int, int]:
    """A width or precision: digits, or ``*`` for the next value."""
    if form[index : index + 1] == "*":
        value = values[taken] if taken < len(values) else 0
        return (value if isinstance(value, int) else 0), index + 1, taken + 1
    end = index
    while end < len(form) and form[end].isdigit():
        end += 1
    return (int(form[index:end]) if end > index else None), end, taken


def _pad(text: str, width: int | None, flags: str, verb: str) -> str:
    if width is None or len(text) >= width:
        return text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and verb not in "svqT":
        sign = text[:1] if text[:1] in "+-" else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _format(verb: str, value: Any, flags: str, precision: int | None) -> str:
    if verb == "v":
        return go_string(value)
    if verb == "T":
        return type_name(value)
    if isinstance(value, list | tuple):
        inner = (_format(verb, item, flags, precision) for item in value)
        return "[" + " ".join(inner) + "]"
    if verb == "t" and isinstance(value, bool):
        return go_string(value)
    if isinstance(value, str):
        return _string(verb, value, flags, precision)
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(verb, value, flags)
    if isinstance(value, float) and verb in _FLOAT_VERBS:
        return _float(verb, value, flags, precision)
    return _wrong(verb, value)


def _wrong(verb: str, value: Any) -> str:
    return f"%!{verb}({type_name(value)}={go_string(value)})"


def _string(verb: str, value: str, flags: str, precision: int | None) -> str:
    if verb == "s":
        return value if precision is None else value[:precision]
    if verb == "q":
        return f"`{value}`" if "#" in flags and "`" not in value else quote(value)
    if verb in "xX":
        text = value.encode().hex()
        return text.upper() if verb == "X" else text
    return _wrong(verb, value)


def _integer(verb: str, value: int, flags: str) -> str:
    sign = "+" if "+" in flags else " " if " " in flags else ""
    if verb in _INTEGER_VERBS:
        text = format(abs(value), _INTEGER_VERBS[verb])
        if "#" in flags:
            text = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") + text
        return ("-" if value < 0 else sign) + text
    if verb == "c":
        return chr(value)
    if verb == "q":
        return f"'{chr(value)}'"
    if verb == "U":
        return f"U+{value:04X}"
    return _wrong(verb, value)


def _float(verb: str, value: float, flags: str, precision: int | None) -> str:
    sign = "+" if "+" in flags else ""
    if verb in "gG" and precision is None:
        return (sign if value >= 0 else "") + go_string(value)
    verb = "f" if verb == "F" else verb
    return format(value, f"{sign}.{6 if precision is None else precision}{verb}")
