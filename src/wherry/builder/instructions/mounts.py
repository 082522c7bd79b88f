"""The mounts of a RUN: ``--mount=type=bind|cache|tmpfs|secret|ssh,…``.

Source: https://docs.docker.com/reference/dockerfile/#run---mount
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from wherry.builder.errors import SyntaxProblem, suggestion
from wherry.golang import quote

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
SHARING = ("shared", "private", "locked")
_KEYS = (
    "type", "from", "source", "src", "target", "dst", "destination", "readonly", "ro",
    "readwrite", "rw", "id", "sharing", "required", "mode", "uid", "gid", "size", "env",
)  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of one RUN; ``size`` is in bytes, 0 for no limit, ``mode`` None for default."""

    type: str = "bind"
    source: str = ""
    target: str = ""
    origin: str = ""  # from=
    readonly: bool = True
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    size: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def check_mount(text: str) -> None:
    """What can be checked before variables are known. Raises SyntaxProblem."""
    for field in _fields(text):
        key, equals, value = field.partition("=")
        if key.lower() == "from" and equals and re.search(r"\$.", value):
            raise SyntaxProblem(
                "'from' doesn't support variable expansion, define alias stage instead"
            )
    if "$" not in text:
        parse_mount(text, lambda value: value)


def mount_source_name(text: str) -> str:
    """The value of ``from=`` in one ``--mount``, which is never expanded; empty without one."""
    for field in _fields(text):
        key, _, value = field.partition("=")
        if key.lower() == "from":
            return value
    return ""


def parse_mount(text: str, expand: Callable[[str], str]) -> Mount:
    """One ``--mount`` value; variables in values are expanded. Raises SyntaxProblem."""
    values: dict[str, Any] = {"type": "bind"}
    for field in _fields(text):
        key, equals, value = field.partition("=")
        _set(values, key.lower(), expand(value) if equals else None, field)
    kind = values["type"]
    values.setdefault("readonly", kind not in ("cache", "tmpfs"))
    _validate(values)
    return Mount(**values)


def _fields(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise SyntaxProblem(f"failed to parse csv mounts: {error}") from None
    return rows[0] if rows else []


def _set(values: dict[str, Any], key: str, value: str | None, field: str) -> None:
    kind = values["type"]
    if value is None:
        if key not in ("readonly", "ro", "readwrite", "rw", "required", "env"):
            raise SyntaxProblem(f"invalid field '{field}' must be a key=value pair")
        value = "" if key == "env" else "true"
    match key:
        case "type":
            values["type"] = _one_of(value, TYPES, "unsupported mount type")
        case "from":
            values["origin"] = value
        case "source" | "src":
            values["source"] = value
        case "target" | "dst" | "destination":
            values["target"] = value
        case "readonly" | "ro":
            values["readonly"] = _boolean(key, value)
        case "readwrite" | "rw":
            values["readonly"] = not _boolean(key, value)
        case "required" if kind in ("secret", "ssh"):
            values["required"] = _boolean(key, value)
        case "env" if kind == "secret":
            values["env"] = value
        case "size" if kind == "tmpfs":
            values["size"] = _bytes(value)
        case "required" | "size" | "env":
            raise SyntaxProblem(f"unexpected key '{key}' for mount type '{kind}'")
        case "id":
            values["id"] = value
        case "sharing":
            values["sharing"] = _one_of(value, SHARING, "unsupported sharing value")
        case "mode" | "uid" | "gid":
            values[key] = _number(key, value, 8 if key == "mode" else 10)
        case _:
            near = suggestion(key, _KEYS)
            raise SyntaxProblem(f"unexpected key '{key}' in '{field}'{near}")


def _validate(values: dict[str, Any]) -> None:
    kind = values["type"]
    if kind in ("bind", "tmpfs"):
        for key in ("mode", "uid", "gid"):
            if key in values:
                raise SyntaxProblem(f"{key} not allowed for {quote(kind)} type mounts")
    if kind == "secret":
        if values.get("origin"):
            raise SyntaxProblem("secret mount should not have a from")
        if values.get("sharing"):
            raise SyntaxProblem("secret mount should not define sharing")
        if not any(values.get(key) for key in ("source", "target", "id")):
            raise SyntaxProblem("invalid secret mount. one of source, target required")
        if values.get("source") and values.get("id"):
            raise SyntaxProblem("both source and id can't be set")
    if values.get("sharing") and kind != "cache":
        raise SyntaxProblem(f"invalid cache sharing set for {kind} mount")
    if kind in ("bind", "cache", "tmpfs") and not values.get("target"):
        raise SyntaxProblem(f"invalid {kind} mount: target is required")


def _one_of(value: str, known: Iterable[str], problem: str) -> str:
    lower = value.lower()
    if lower not in known:
        raise SyntaxProblem(f"{problem} {quote(value)}{suggestion(value, known)}")
    return lower


def _boolean(key: str, value: str) -> bool:
    if value not in _BOOLEANS:
        raise SyntaxProblem(f"invalid value for {key}: {value}")
    return _BOOLEANS[value]


def _number(key: str, value: str, base: int) -> int:
    try:
        if not value.isalnum() or not value.isascii():
            raise ValueError
        number = int(value, base)
    except ValueError:
        raise SyntaxProblem(f"invalid value {value} for {key}") from None
    if number >= 1 << 32:
        raise SyntaxProblem(f"invalid value {value} for {key}")
    return number


def _bytes(value: str) -> int:
    found = _SIZE.fullmatch(value)
    if not found:
        raise SyntaxProblem(f"invalid value for size: {value}")
    return int(float(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " "))
