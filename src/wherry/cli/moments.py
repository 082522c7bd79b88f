"""``--since`` and ``--until``: dates, Unix times and spans before now."""

from __future__ import annotations

import time
from datetime import UTC

from wherry.cli.errors import CliError
from wherry.golang import parse_duration, quote

_FORMS = (
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H",
    "%Y-%m-%d",
)


def moment(text: str) -> str | None:
    """A time as requests carry it, ``SECONDS.NANOSECONDS``; None when it is not given.

    Raises CliError for what is no time.
    """
    if not text:
        return None
    try:
        span = parse_duration(text)
    except ValueError:
        pass
    else:
        return _stamp(time.time_ns() - span)
    seconds, dot, fraction = text.partition(".")
    if seconds.removeprefix("-").isdigit() and (not dot or fraction.isdigit()):
        return f"{seconds}.{fraction.ljust(9, '0')[:9]}" if dot else seconds
    return _date(text)


def _stamp(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def _date(text: str) -> str:
    """An RFC 3339 date, with any of its smaller parts and its zone left out (local time)."""
    from datetime import datetime, timedelta, timezone

    body, offset = text, None
    if "T" in text:
        if text.endswith("Z"):
            body, offset = text[:-1], UTC
        elif len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
            sign = -1 if text[-6] == "-" else 1
            try:
                span = timedelta(hours=int(text[-5:-3]), minutes=int(text[-2:]))
            except ValueError:
                raise _failure(text) from None
            body, offset = text[:-6], timezone(sign * span)
    elif text.endswith("Z"):
        body, offset = text[:-1], UTC
    whole, _, fraction = body.partition(".")
    for form in _FORMS:
        try:
            parsed = datetime.strptime(whole, form)
        except ValueError:
            continue
        aware = parsed.replace(tzinfo=offset) if offset else parsed.astimezone()
        nanoseconds = int(fraction.ljust(9, "0")[:9]) if fraction.isdigit() else 0
        return f"{int(aware.timestamp())}.{nanoseconds:09d}"
    raise _failure(text)


def _failure(text: str) -> CliError:
    return CliError(
        f'invalid value for "since": failed to parse value as time or duration: {quote(text)}'
    )
