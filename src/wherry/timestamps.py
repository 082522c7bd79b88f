"""Moments and durations in the forms that Docker's API takes and gives; integers of nanoseconds.

Clients send ``since``/``until`` as ``SECONDS[.FRACTION]``; the ``until`` prune filter also takes
Go durations (``1h30m``, counted back from now) and RFC 3339 with fewer or more parts.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from wherry import golang
from wherry.errors import InvalidParameter

SECOND = 1_000_000_000

_UNIX = re.compile(r"-?\d{1,18}(?:\.\d{1,9}\d*)?", re.ASCII)
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9})\d*)?)?)?)?(Z|[+-]\d\d:\d\d)?"
)


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as ``1h2m3.5s``; raises InvalidParameter."""
    try:
        return golang.parse_duration(text)
    except ValueError as error:
        raise InvalidParameter(str(error)) from None


def parse_unix(text: str) -> int:
    """Nanoseconds of ``SECONDS[.FRACTION]``; raises InvalidParameter."""
    if not _UNIX.fullmatch(text):
        raise InvalidParameter(f'invalid timestamp "{text}": it must be SECONDS[.NANOSECONDS]')
    seconds, _, fraction = text.partition(".")
    nanoseconds = int(fraction[:9].ljust(9, "0")) if fraction else 0
    return int(seconds) * SECOND + (-nanoseconds if text.startswith("-") else nanoseconds)


def parse_moment(text: str, now: int) -> int:
    """Nanoseconds since 1970 of a Unix time, an RFC 3339 date or a Go duration before ``now``.

    Raises InvalidParameter.
    """
    if _UNIX.fullmatch(text):
        return parse_unix(text)
    if date := _DATE.fullmatch(text):
        day, hour, minute, second, fraction, zone = date.groups()
        try:
            whole = datetime.fromisoformat(
                f"{day}T{hour or '00'}:{minute or '00'}:{second or '00'}"
                f"{'+00:00' if zone in (None, 'Z') else zone}"
            )
        except ValueError as error:
            raise InvalidParameter(f'invalid time "{text}": {error}') from None
        return int(whole.timestamp()) * SECOND + int((fraction or "0").ljust(9, "0"))
    try:
        return now - parse_duration(text)
    except InvalidParameter:
        raise InvalidParameter(f'failed to parse value as time or duration: "{text}"') from None


def rfc3339(nanoseconds: int, *, padded: bool = False) -> str:
    """RFC 3339 in UTC; the fraction loses its trailing zeros, as Go's RFC3339Nano, or is padded."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{fraction:09d}" if padded else f"{fraction:09d}".rstrip("0")
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time; raises InvalidParameter."""
    return parse_moment(text, 0)
