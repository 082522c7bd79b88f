"""Finding containers among many: the same as looking at every one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine.ids import Ids, find
from wherry.errors import InvalidParameter, NotFound

IDS = st.text("0ab", min_size=1, max_size=4)


def slowly(reference: str, ids: set[str], names: dict[str, str]) -> str:
    """What `find` does, by its definition."""
    if not reference:
        raise InvalidParameter("empty")
    if reference in ids:
        return reference
    if reference.removeprefix("/") in names:
        return names[reference.removeprefix("/")]
    matching = [one for one in ids if one.startswith(reference)]
    if len(matching) > 1:
        raise InvalidParameter("several")
    if not matching:
        raise NotFound("none")
    return matching[0]


@given(st.lists(st.tuples(st.booleans(), IDS), max_size=40), st.text("0ab/", max_size=5))
def test_finding_in_order_is_finding(changes: list[tuple[bool, str]], reference: str) -> None:
    ids, known = Ids(), set[str]()
    for comes, identity in changes:
        (ids.add if comes else ids.discard)(identity)
        (known.add if comes else known.discard)(identity)
    names = {"b0": next(iter(sorted(known)))} if known else {}
    assert {one for one in ("0", "a", "b", "ab", *known) if one in ids} == known & {
        *("0", "a", "b", "ab"),
        *known,
    }
    try:
        expected = slowly(reference, known, names)
    except (InvalidParameter, NotFound) as error:
        with pytest.raises(type(error)):
            find(reference, ids, names)
    else:
        assert find(reference, ids, names) == expected
