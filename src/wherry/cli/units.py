"""Sizes, ages and moments as people read them."""

from __future__ import annotations

import time

_SI = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_MINUTE, _HOUR, _DAY, _WEEK, _MONTH, _YEAR = 60, 3600, 86400, 604800, 2592000, 31536000


def _scale(size: float, base: float, units: tuple[str, ...], precision: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{_general(size, precision)}{units[index]}"


def _general(value: float, precision: int) -> str:
    """``%.{precision}g`` as Go prints it: exponents have at least two digits, as in C."""
    return f"{value:.{precision}g}"


def human_size(size: float, precision: int = 4) -> str:
    """``2.5MB``: powers of 1000."""
    return _scale(size, 1000.0, _SI, precision)


def short_size(size: float) -> str:
    """``2.5MB`` with three digits, as listings show it."""
    return human_size(size, 3)


def binary_size(size: float) -> str:
    """``2.5MiB``: powers of 1024."""
    return _scale(size, 1024.0, _BINARY, 4)


def age(seconds: float) -> str:
    """``About an hour``, ``3 days``: a span of time in one unit."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < _MINUTE:
        return f"{whole} seconds"
    minutes = whole // _MINUTE
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / _HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / _HOUR / 24 / 365)} years"


def since(moment: float) -> str:
    """``3 hours ago`` for a Unix time."""
    return f"{age(time.time() - moment)} ago"


def parse_time(text: str) -> float:
    """An RFC 3339 moment, with up to nine fractional digits, as Unix time; 0.0 for the year 1."""
    if not text or text.startswith("0001-"):
        return 0.0
    from datetime import datetime

    body, zone = text, ""
    if body[-1] in "Zz":
        body, zone = body[:-1], "+00:00"
    elif len(body) > 6 and body[-6] in "+-":
        body, zone = body[:-6], body[-6:]
    whole, _, fraction = body.partition(".")
    moment = datetime.fromisoformat(whole + (zone or "+00:00")).timestamp()
    return moment + (float(f"0.{fraction}") if fraction else 0.0)


def local_stamp(moment: float) -> str:
    """``2026-11-24 02:19:44 +0000 UTC`` in the local zone."""
    local = time.localtime(moment)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", local)


def go_time(text: str) -> str:
    """An RFC 3339 moment as Go prints a time: ``2026-11-24 02:54:31.95 +0000 UTC``."""
    if not text:
        return "0001-01-01 00:00:00 +0000 UTC"
    date, _, rest = text.partition("T")
    clock, dot, fraction = rest.partition(".")
    if dot:  # trailing zeros of the fraction are not shown
        digits = fraction.rstrip("Zz").partition("+")[0].partition("-")[0]
        zone = fraction[len(digits) :]
        shown = digits.rstrip("0")
        rest = f"{clock}{'.' if shown else ''}{shown}{zone}"
    if rest.endswith("Z"):
        return f"{date} {rest[:-1]} +0000 UTC"
    if len(rest) > 6 and rest[-6] in "+-":
        zone = rest[-6:].replace(":", "")
        return f"{date} {rest[:-6]} {zone} {'UTC' if zone == '+0000' else zone}"
    return text
