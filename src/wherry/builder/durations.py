"""Go's duration strings (``1m30s``), which several instructions and flags take.

Source: https://pkg.go.dev/time#ParseDuration
"""

from __future__ import annotations

import re
from decimal import Decimal

from wherry.builder.errors import SyntaxProblem, quoted

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([a-zµμ]*)", re.ASCII)


def parse_duration(text: str) -> int:
    """Nanoseconds. Raises SyntaxProblem."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return 0
    position, total = 0, Decimal(0)
    while body and position < len(body):
        found = _PART.match(body, position)
        if not found:
            raise SyntaxProblem(f"time: invalid duration {quoted(text)}")
        if not found[2]:
            raise SyntaxProblem(f"time: missing unit in duration {quoted(text)}")
        if found[2] not in _UNITS:
            raise SyntaxProblem(f"time: unknown unit {quoted(found[2])} in duration {quoted(text)}")
        total += Decimal(found[1]) * _UNITS[found[2]]
        position = found.end()
    if not body or total >= 1 << 63:
        raise SyntaxProblem(f"time: invalid duration {quoted(text)}")
    return sign * int(total)
