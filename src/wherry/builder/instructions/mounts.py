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
    """Put one ``KEY=VALUE`` (None: the key alone) into the fields of `Mount`."""
    known = _READERS.get(key)
    if value is None:
        if key not in _BARE:
            raise SyntaxProblem(f"invalid field '{field}' must be a key=value pair")
        value = _BARE[key]
    if known is None:
        near = suggestion(key, _READERS)
        raise SyntaxProblem(f"unexpected key '{key}' in '{field}'{near}")
    kind = values["type"]
    if kind not in _ONLY_FOR.get(key, TYPES):
        raise SyntaxProblem(f"unexpected key '{key}' for mount type '{kind}'")
    name, read = known
    values[name] = read(key, value)


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


def _bytes(_: str, value: str) -> int:
    found = _SIZE.fullmatch(value)
    if not found:
        raise SyntaxProblem(f"invalid value for size: {value}")
    return int(float(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " "))


def _text(_: str, value: str) -> str:
    return value


_Reader = Callable[[str, str], Any]
_READERS: dict[str, tuple[str, _Reader]] = {
    "type": ("type", lambda _, value: _one_of(value, TYPES, "unsupported mount type")),
    "from": ("origin", _text),
    "source": ("source", _text),
    "src": ("source", _text),
    "target": ("target", _text),
    "dst": ("target", _text),
    "destination": ("target", _text),
    "readonly": ("readonly", _boolean),
    "ro": ("readonly", _boolean),
    "readwrite": ("readonly", lambda key, value: not _boolean(key, value)),
    "rw": ("readonly", lambda key, value: not _boolean(key, value)),
    "id": ("id", _text),
    "sharing": (
        "sharing",
        lambda _, value: _one_of(value, SHARING, "unsupported sharing value"),
    ),
    "required": ("required", _boolean),
    "mode": ("mode", lambda key, value: _number(key, value, 8)),
    "uid": ("uid", lambda key, value: _number(key, value, 10)),
    "gid": ("gid", lambda key, value: _number(key, value, 10)),
    "size": ("size", _bytes),
    "env": ("env", _text),
}
"""The field of `Mount` that a key sets, and how its value is read."""
_ONLY_FOR = {"required": ("secret", "ssh"), "env": ("secret",), "size": ("tmpfs",)}
"""Keys that only some types of mounts have."""
_BARE = {
    **dict.fromkeys(("readonly", "ro", "readwrite", "rw", "required"), "true"),
    "env": "",
}
"""What keys mean that stand without a value."""
