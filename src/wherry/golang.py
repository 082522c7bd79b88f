"""Numbers, durations and quoting as Go's standard library reads and writes them.

Docker's command line is a Go program: what it accepts as a number, and the words with which it
refuses one, are those of strconv and time. Users and scripts meet both.
"""

from __future__ import annotations

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_DURATION_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PREFIXES = {"0x": 16, "0o": 8, "0b": 2}
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quote(text: str) -> str:
    """``text`` in double quotes, as ``%q`` prints it."""
    parts = []
    for char in text:
        if char in _ESCAPES:
            parts.append(_ESCAPES[char])
        elif char.isprintable():
            parts.append(char)
        elif ord(char) < 0x80:
            parts.append(f"\\x{ord(char):02x}")
        elif ord(char) <= 0xFFFF:
            parts.append(f"\\u{ord(char):04x}")
        else:
            parts.append(f"\\U{ord(char):08x}")
    return '"' + "".join(parts) + '"'


def parse_bool(text: str) -> bool:
    """As strconv.ParseBool; raises ValueError in its words."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def parse_int(text: str, bits: int = 64, *, signed: bool = True, base: int = 0) -> int:
    """As strconv.ParseInt or ParseUint; base 0 knows 0x, 0o, 0b, a leading 0 and underscores."""
    function = "ParseInt" if signed else "ParseUint"
    wrong = ValueError(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    body, negative = text, False
    if signed and text[:1] in ("+", "-"):
        body, negative = text[1:], text[0] == "-"
    radix = base or 10
    if base == 0:
        if body[:2].lower() in _PREFIXES:
            radix = _PREFIXES[body[:2].lower()]
            body = body[2:].removeprefix("_")
        elif len(body) > 1 and body[0] == "0":
            radix = 8
            body = body[1:].removeprefix("_")
    if not body or not body.isascii() or not (body[0].isalnum() and body[-1].isalnum()):
        raise wrong
    if "_" in body and base:
        raise wrong
    try:
        value = int(body, radix)
    except ValueError:
        raise wrong from None
    value = -value if negative else value
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return value


def parse_duration(text: str) -> int:
    """``1h15m30.5s`` as nanoseconds; raises ValueError in the words of time.ParseDuration."""
    body = text
    negative = body.startswith("-")
    if body[:1] in ("+", "-"):
        body = body[1:]
    if body == "0":
        return 0
    if not body:
        raise ValueError(f"time: invalid duration {quote(text)}")
    total = 0
    while body:
        end = 0
        while end < len(body) and (body[end] in "0123456789."):
            end += 1
        number, body = body[:end], body[end:]
        whole, _, fraction = number.partition(".")
        if not (whole or fraction) or "." in fraction:
            raise ValueError(f"time: invalid duration {quote(text)}")
        end = 0
        while end < len(body) and body[end] not in "0123456789.":
            end += 1
        unit, body = body[:end], body[end:]
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _DURATION_UNITS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        scale = _DURATION_UNITS[unit]
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
    if total >= 1 << 63:
        raise ValueError(f"time: invalid duration {quote(text)}")
    return -total if negative else total


def format_duration(nanoseconds: int) -> str:
    """As time.Duration prints itself: ``1h0m0s``, ``1.5s``, ``300ms``."""
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    rest = abs(nanoseconds)
    for unit in ("ns", "µs", "ms"):
        scale = _DURATION_UNITS[unit]
        if rest < scale * 1000:
            return f"{sign}{_fraction(rest, scale)}{unit}"
    minutes, seconds = divmod(rest, _DURATION_UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{_fraction(seconds, _DURATION_UNITS['s'])}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _fraction(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    digits = str(rest).rjust(len(str(scale)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}"
