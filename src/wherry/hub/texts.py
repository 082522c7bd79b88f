"""Which texts can be stored: what comes from outside may be any sequence of characters."""

from __future__ import annotations

from typing import Any

from wherry.errors import InvalidParameter


def is_storable(text: str) -> bool:
    """Whether every database takes the text: no NUL (PostgreSQL), no lone surrogates (UTF-8)."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check(text: str) -> str:
    """``text`` when it can be stored. Raises InvalidParameter."""
    if not is_storable(text):
        raise InvalidParameter(
            "the text has a character that cannot be stored (NUL, or half a pair)"
        )
    return text


def check_all(value: Any) -> Any:
    """``value`` when every text in it (lists, tuples, dicts and their keys) can be stored.

    Raises InvalidParameter. Iterative: JSON of others may be nested as deep as it likes.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            check(item)
        elif isinstance(item, dict):
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item
    return value


def storable(text: str) -> str:
    """``text`` with a question mark for each character that cannot be stored."""
    return text.replace("\0", "?").encode(errors="replace").decode()
