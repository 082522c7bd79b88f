"""Docker's ``filters`` query parameter: a JSON map from filter name to a set of values.

Both forms are read: ``{"label": {"a=b": true}}`` and the older ``{"label": ["a=b"]}``. The match
helpers answer True where a filter was not given (moby, ``api/types/filters``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from wherry.errors import InvalidParameter
from wherry.patterns import compiled

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True)
class Filters:
    """Parsed filters: name → values in the order given."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def get(self, name: str) -> tuple[str, ...]:
        """All values of ``name``; empty when it was not given."""
        return self.values.get(name, ())

    def without(self, *names: str) -> Filters:
        """The same filters but ``names``."""
        return Filters({name: got for name, got in self.values.items() if name not in names})

    def adding(self, name: str, value: str) -> Filters:
        """The same filters and one more value."""
        return Filters({**self.values, name: (*self.get(name), value)})

    def allow(self, accepted: Collection[str]) -> Filters:
        """These filters, all of them known; raises InvalidParameter for any other name."""
        for name in self.values:
            if name not in accepted:
                raise InvalidParameter(f"invalid filter '{name}'")
        return self

    def flag(self, name: str, default: bool) -> bool:
        """The one boolean value of ``name``; raises InvalidParameter for anything else."""
        given = self.get(name)
        if not given:
            return default
        if all(value in _TRUE for value in given):
            return True
        if all(value in _FALSE for value in given):
            return False
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(given)}]'")

    def exact(self, name: str, source: str) -> bool:
        """Whether ``source`` is one of the values."""
        given = self.get(name)
        return not given or source in given

    def prefix(self, name: str, source: str) -> bool:
        """Whether ``source`` starts with one of the values."""
        given = self.get(name)
        return not given or source.startswith(given)

    def pattern(self, name: str, source: str) -> bool:
        """Whether one of the values equals ``source`` or is a regular expression found in it."""
        given = self.get(name)
        return not given or source in given or any(_found(value, source) for value in given)

    def pairs(self, name: str, source: Mapping[str, str]) -> bool:
        """Whether each value (``key`` or ``key=value``) is in ``source``."""
        return all(_has_pair(value, source) for value in self.get(name))

    def no_pairs(self, name: str, source: Mapping[str, str]) -> bool:
        """Whether none of the values is in ``source`` (for names such as ``label!``)."""
        return not any(_has_pair(value, source) for value in self.get(name))


def parse(text: str | None) -> Filters:
    """Read the query parameter; raises InvalidParameter when it is neither of the two forms."""
    if not text:
        return Filters()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidParameter("invalid filter") from None
    if data is None:
        return Filters()
    if not isinstance(data, dict):
        raise InvalidParameter("invalid filter")
    return Filters({name: _values(given) for name, given in data.items()})


def _values(given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    if isinstance(given, dict) and all(isinstance(on, bool) for on in given.values()):
        return tuple(given)
    if isinstance(given, list) and all(isinstance(value, str) for value in given):
        return tuple(dict.fromkeys(given))
    raise InvalidParameter("invalid filter")


def _found(expression: str, source: str) -> bool:
    pattern = compiled(expression)
    return pattern is not None and pattern.search(source)


def _has_pair(value: str, source: Mapping[str, str]) -> bool:
    key, equals, wanted = value.partition("=")
    return key in source and (not equals or source[key] == wanted)
