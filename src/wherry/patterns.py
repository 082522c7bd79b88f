"""Expressions and wildcards of others, matched in time linear in text and expression.

Docker's filters take RE2 expressions, Dockerfiles and ignore files take wildcards. Python's own
matcher tries alternatives one after another: with an expression such as ``(a+)+$``, or with some
stars in a wildcard, it would be busy for ever, and no other thread of the engine runs meanwhile.
Here all alternatives are followed at once (Thompson, "Regular expression search algorithm", 1968),
over Python's parse of the expression. What RE2 does not have (look-around, references) is refused.
Python's matcher is used where it cannot take many steps, as for most expressions.
Standard library only: the command line reads ignore files, too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

MAX_STATES = 1_000  # of one expression, its counted repetitions written out
_TOO_MANY = 9  # repetitions, or one inside of another
_MAX_STEPS = 100_000  # that Python's matcher may need at worst, about a millisecond
_MAX_KEPT = 50_000  # states in what is kept of one expression's steps
_SIMPLE = frozenset({op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN, op.AT})

Test = Callable[[str, int], bool]
States = frozenset[int]


class BadPattern(Exception):
    """The expression is invalid, too large, or has what RE2 has not."""


class Pattern:
    """A compiled expression of at most ``most`` states. Raises BadPattern."""

    def __init__(self, expression: str, *, most: int = MAX_STATES) -> None:
        self._most = most
        try:
            parsed = _parser.parse(expression)
        except (re.error, RecursionError, OverflowError) as error:
            raise BadPattern(str(error)) from None
        self._direct = re.compile(expression)
        self._degree, self._factor = _choices(parsed)
        self._flags = parsed.state.flags & (re.IGNORECASE | re.DOTALL | re.MULTILINE)
        # A state is a test with the state behind it, which consumes a character or not, or a
        # choice of states.
        self._tests: list[tuple[Test, bool] | None] = []
        self._next: list[list[int]] = []
        self._end = self._add(None, [])
        self._start = self._sequence(parsed, self._end)
        self._moves: dict[tuple[States, str], States] = {}
        self._kept = 0

    def search(self, text: str) -> bool:
        """Whether the expression is found anywhere in ``text``."""
        few = self._degree < _TOO_MANY
        if few and self._factor * (len(text) + 1) ** (self._degree + 1) <= _MAX_STEPS:
            return self._direct.search(text) is not None
        return self.follow(text)

    def follow(self, text: str) -> bool:
        """The same by following all alternatives at once, whatever the expression."""
        states: set[int] = set()
        for position in range(len(text) + 1):
            states = self._reached({*states, self._start}, text, position)
            if self._end in states:
                return True
            if position < len(text):
                states = {
                    following
                    for state in states
                    if (test := self._tests[state]) and test[1] and test[0](text, position)
                    for following in self._next[state]
                }
        return False

    def ends(self, text: str, begin: int = 0) -> Iterator[int]:
        """Where a match that begins at ``begin`` may end, in order.

        For expressions without places (``^``, ``$``, ``\\b``).
        """
        states: States = frozenset(self._reached({self._start}, "", 0))
        for position in range(begin, len(text) + 1):
            if self._end in states:
                yield position
            if not states or position == len(text):
                return
            states = self._behind(states, text[position])

    def fullmatch(self, text: str) -> bool:
        """Whether the whole of ``text`` matches; for expressions without places."""
        few = self._degree < _TOO_MANY
        if few and self._factor * (len(text) + 1) ** self._degree <= _MAX_STEPS:
            return self._direct.fullmatch(text) is not None
        return any(end == len(text) for end in self.ends(text))

    def _behind(self, states: States, character: str) -> States:
        """The states behind one more character: worked out once, then looked up."""
        found = self._moves.get((states, character))
        if found is None:
            after = {
                following
                for state in states
                if (test := self._tests[state]) and test[1] and test[0](character, 0)
                for following in self._next[state]
            }
            found = frozenset(self._reached(after, "", 0))
            self._kept += len(found) + 1
            if self._kept > _MAX_KEPT:
                self._moves.clear()
                self._kept = len(found) + 1
            self._moves[states, character] = found
        return found

    def _reached(self, states: set[int], text: str, position: int) -> set[int]:
        """These and all states that follow without a character."""
        reached, waiting = set(states), list(states)
        while waiting:
            state = waiting.pop()
            test = self._tests[state]
            if test is None or (not test[1] and test[0](text, position)):
                new = set(self._next[state]) - reached
                reached |= new
                waiting += new
        return reached

    def _add(self, test: tuple[Test, bool] | None, following: list[int]) -> int:
        if len(self._tests) >= self._most:
            raise BadPattern("the expression is too large")
        self._tests.append(test)
        self._next.append(following)
        return len(self._tests) - 1

    def _sequence(self, items: Iterable[Any], following: int) -> int:
        for kind, value in reversed(list(items)):
            following = self._item(kind, value, following)
        return following

    def _item(self, kind: Any, value: Any, following: int) -> int:
        if kind in _SIMPLE:
            return self._add((_single(kind, value, self._flags), kind is not op.AT), [following])
        if kind is op.BRANCH:
            return self._add(None, [self._sequence(one, following) for one in value[1]])
        if kind is op.SUBPATTERN and not value[1] and not value[2]:  # no flags of its own
            return self._sequence(value[3], following)
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, items = value
            return self._repeat(least, most, items, following)
        raise BadPattern(f"{str(kind).lower()} is not supported")

    def _repeat(self, least: int, most: int, items: Any, following: int) -> int:
        start = following
        if most == op.MAXREPEAT:
            start = self._add(None, [following])
            self._next[start].append(self._sequence(items, start))
        else:
            for _ in range(most - least):
                start = self._add(None, [self._sequence(items, start), following])
        for _ in range(least):
            start = self._sequence(items, start)
        return start


def _choices(items: Iterable[Any]) -> tuple[int, int]:
    """How often a matcher that tries alternatives in turn may have to: text ** degree * factor."""
    degree, factor = 0, 1
    for kind, value in items:
        inner: list[tuple[int, int]] = []
        if kind is op.BRANCH:
            inner = [_choices(one) for one in value[1]]
            factor *= len(inner)
        elif kind is op.SUBPATTERN:
            inner = [_choices(value[3])]
        elif kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            within, times = _choices(value[2])
            degree += 1 if within == 0 and times == 1 else _TOO_MANY
        for within, times in inner:
            degree, factor = degree + within, factor * times
    return degree, factor


def _single(kind: Any, value: Any, flags: int) -> Test:
    """The test of one character or place, by Python's matcher, which has no choice there."""
    if kind is op.LITERAL and not flags & re.IGNORECASE:
        wanted = chr(value)
        return lambda text, position: text.startswith(wanted, position)
    compiled = re.compile(_written(kind, value), flags)

    def test(text: str, position: int) -> bool:
        return compiled.match(text, position) is not None

    return test


_PLACES = {
    op.AT_BEGINNING: "^", op.AT_BEGINNING_STRING: r"\A", op.AT_END: "$", op.AT_END_STRING: r"\Z",
    op.AT_BOUNDARY: r"\b", op.AT_NON_BOUNDARY: r"\B",
}  # fmt: skip
_CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def _written(kind: Any, value: Any) -> str:
    """One item as an expression again."""
    if kind is op.ANY:
        return "."
    if kind is op.AT:
        return _PLACES[value]
    if kind is op.LITERAL:
        return _code(value)
    if kind is op.NOT_LITERAL:
        return f"[^{_code(value)}]"
    return f"[{''.join(map(_member, value))}]"


def _member(item: tuple[Any, Any]) -> str:
    kind, value = item
    if kind is op.NEGATE:
        return "^"
    if kind is op.RANGE:
        return f"{_code(value[0])}-{_code(value[1])}"
    return _CATEGORIES[value] if kind is op.CATEGORY else _code(value)


def _code(character: int) -> str:
    return f"\\U{character:08x}"


@functools.lru_cache(maxsize=64)
def compiled(expression: str) -> Pattern | None:
    """The expression, None when it is invalid."""
    try:
        return Pattern(expression)
    except BadPattern:
        return None
