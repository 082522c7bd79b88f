"""Numbers in the texts of others.

``str.isdigit`` is no question to ask before ``int``: it says yes to "²", which ``int`` refuses, and
to more digits than ``int`` takes.
"""

from __future__ import annotations

_MOST_DIGITS = 19  # of a signed number of 64 bits


def whole_number(text: str) -> int | None:
    """The number that ASCII digits say, None for anything else; at most 19 digits."""
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    return None
