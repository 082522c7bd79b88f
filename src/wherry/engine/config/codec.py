"""JSON objects of the API to frozen dataclasses and back.

A dataclass field says with `api` how it is called in JSON, of which kind it is and whether it is
left out when empty. Keys are matched without regard to case, ``null`` means "not given", and a
value of a wrong type is refused in the words that Docker's clients know.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from wherry.errors import InvalidParameter

_INT64 = 1 << 63

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a field's value is read and shown. ``empty`` is its value when nothing was given."""

    read: Callable[[Any, str], Any]
    empty: Any
    show: Callable[[Any], Any] = lambda value: value


def mismatch(value: Any, where: str, wanted: str) -> InvalidParameter:
    """The failure for a JSON value of the wrong type; ``where`` is ``Type.Field``."""
    return InvalidParameter(
        f"invalid JSON: json: cannot unmarshal {json_type(value)} into Go struct field"
        f" {where} of type {wanted}"
    )


def json_type(value: Any) -> str:
    """What JSON calls the type of ``value``."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise mismatch(value, where, "string")
    if "\0" in value:
        raise InvalidParameter(f"invalid JSON: {where}: a string must not contain NUL")
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise mismatch(value, where, "bool")
    return value


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        if isinstance(value, float):
            raise InvalidParameter(
                f"invalid JSON: json: cannot unmarshal number {value} into Go struct field"
                f" {where} of type int64"
            )
        raise mismatch(value, where, "int64")
    if not -_INT64 <= value < _INT64:
        raise InvalidParameter(
            f"invalid JSON: json: cannot unmarshal number {value} into Go struct field"
            f" {where} of type int64"
        )
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise mismatch(value, where, "[]string")
    return tuple("" if item is None else _text(item, where) for item in value)


def _words(value: Any, where: str) -> tuple[str, ...]:
    """A command: a list, or one string as old clients sent it."""
    return (_text(value, where),) if isinstance(value, str) else _texts(value, where)


def _text_map(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise mismatch(value, where, "map[string]string")
    return {key: "" if item is None else _text(item, where) for key, item in value.items()}


def _text_set(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, dict):
        raise mismatch(value, where, "map[string]struct {}")
    return tuple(value)


def _show_list(value: Any) -> Any:
    return None if value is None else list(value)


def _show_set(value: Any) -> Any:
    return None if value is None else {key: {} for key in sorted(value)}


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise mismatch(value, where, "object")
    return value


TEXT = Kind(_text, "")
FLAG = Kind(_flag, False)
OPTIONAL_FLAG = Kind(_flag, None)
INTEGER = Kind(_integer, 0)
OPTIONAL_INTEGER = Kind(_integer, None)
TEXTS = Kind(_texts, None, _show_list)
WORDS = Kind(_words, None, _show_list)
TEXT_MAP = Kind(_text_map, None, lambda value: None if value is None else dict(value))
TEXT_SET = Kind(_text_set, None, _show_set)
OBJECT = Kind(_object, None)
"""An object that is decoded elsewhere."""


def objects(cls: type[Any]) -> Kind:
    """A list of JSON objects of type ``cls``."""

    def read(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise mismatch(value, where, f"[]container.{cls.__name__}")
        return tuple(decode(cls, item) for item in value if item is not None)

    def show(value: Any) -> Any:
        return None if value is None else [encode(item) for item in value]

    return Kind(read, None, show)


def objects_by_name(cls: type[Any]) -> Kind:
    """A JSON object whose values are JSON objects of type ``cls``, or null."""

    def read(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise mismatch(value, where, f"map[string]*network.{cls.__name__}")
        return {key: None if item is None else decode(cls, item) for key, item in value.items()}

    def show(value: Any) -> Any:
        if value is None:
            return None
        return {key: None if item is None else encode(item) for key, item in value.items()}

    return Kind(read, None, show)


def one(cls: type[Any], *, optional: bool = True) -> Kind:
    """A JSON object of type ``cls``; when it is not ``optional`` its absence means defaults."""
    return Kind(
        lambda value, where: decode(cls, value),
        None if optional else cls(),
        lambda value: None if value is None else encode(value),
    )


def api(name: str, kind: Kind, *, omit: bool = False) -> Any:
    """A dataclass field that is called ``name`` in JSON; ``omit`` leaves it out when empty."""
    return field(default=kind.empty, metadata={"name": name, "kind": kind, "omit": omit})


@functools.cache
def _described(cls: Any) -> tuple[Field[Any], ...]:
    return tuple(one for one in fields(cls) if "kind" in one.metadata)


@functools.cache
def _by_name(cls: Any) -> dict[str, Field[Any]]:
    return {one.metadata["name"].lower(): one for one in _described(cls)}


def decode(cls: type[T], body: Any) -> T:
    """An object of ``cls`` from JSON; unknown keys are ignored. Raises InvalidParameter."""
    if not isinstance(body, Mapping):
        raise InvalidParameter(
            f"invalid JSON: json: cannot unmarshal {json_type(body)} into Go value of type"
            f" container.{cls.__name__}"
        )
    hashable: Any = cls
    known = _by_name(hashable)
    values = {}
    for key, value in body.items():
        described = known.get(key.lower()) if isinstance(key, str) else None
        if described is None or value is None:
            continue
        where = f"{cls.__name__}.{described.metadata['name']}"
        values[described.name] = described.metadata["kind"].read(value, where)
    return cls(**values)


def encode(value: Any) -> dict[str, Any]:
    """The JSON object of a dataclass, keys in the order of its fields."""
    shown = {}
    cls: Any = type(value)
    for described in _described(cls):
        content = getattr(value, described.name)
        if described.metadata["omit"] and not content and content is not False:
            continue
        if described.metadata["omit"] and content is False and described.default is False:
            continue
        shown[described.metadata["name"]] = described.metadata["kind"].show(content)
    return shown


def canonical(cls: type[Any], body: Any) -> dict[str, Any]:
    """A JSON object of type ``cls`` with every key as the API spells it and of the right type.

    Raises InvalidParameter.
    """
    return encode(decode(cls, body))
