"""Jinja2 environment and the filters that pages use."""

from __future__ import annotations

import datetime
import time
import zlib
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader, select_autoescape

from wherry.hub.distribution.names import display_name

_LAST_MOMENT = 253_402_300_799  # the end of the year 9999
_UNITS = ("B", "kB", "MB", "GB", "TB")
_PERIODS = (
    (365 * 86_400, "year"),
    (30 * 86_400, "month"),
    (7 * 86_400, "week"),
    (86_400, "day"),
    (3600, "hour"),
    (60, "minute"),
)


def human_size(size: int) -> str:
    """Decimal units, as ``docker images`` prints them: ``5.3 MB``."""
    value = float(size)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def human_count(count: int) -> str:
    """Large numbers shortened: ``1.2k``, ``34M``."""
    for limit, suffix in ((1_000_000_000, "B"), (1_000_000, "M"), (1000, "k")):
        if count >= limit:
            value = count / limit
            return f"{value:.0f}{suffix}" if value >= 10 else f"{value:.1f}{suffix}"
    return str(count)


def ago(moment: int | None, now: float | None = None) -> str:
    """How long ago, in words."""
    if moment is None:
        return "never"
    seconds = (time.time() if now is None else now) - moment
    for length, unit in _PERIODS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def iso_time(moment: int | None) -> str:
    """A machine-readable time, for ``<time datetime>``."""
    if moment is None or not 0 <= moment <= _LAST_MOMENT:
        return ""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short_digest(digest: str) -> str:
    """The first twelve hexadecimal digits."""
    return digest.partition(":")[2][:12]


def hue(name: str) -> int:
    """One of the eight colours of tiles; the same name always has the same."""
    return zlib.crc32(name.encode()) % 8


def last_part(name: str) -> str:
    """The repository's name without its owner."""
    return name.rpartition("/")[2]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        size=human_size,
        count=human_count,
        ago=ago,
        iso=iso_time,
        short=short_digest,
        hue=hue,
        last_part=last_part,
        display=display_name,
    )
    return environment


_templates = _environment()


def render(template: str, **values: Any) -> str:
    """The HTML of a template.

    Text from outside can hold halves of surrogate pairs (JSON has escapes for them), which no
    encoding of a page can carry: they become question marks.
    """
    html = _templates.get_template(template).render(**values)
    return html.encode("utf-8", "replace").decode()
