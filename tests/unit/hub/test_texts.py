"""Texts that no database takes: found where they come in, and again where they would be stored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.hub import texts
from wherry.hub.database import Database
from wherry.hub.migrations.run import migrate
from wherry.hub.records import repositories
from wherry.hub.web.page import safe_next

BAD = ("\0", "a\0b", "\ud800", "x\udfffy", "\udcff")
ANY = st.text(st.characters(codec=None), max_size=20)


@pytest.mark.parametrize("text", BAD)
def test_bad_texts_are_found_at_any_depth(text: str) -> None:
    deep: object = text
    for _ in range(5000):
        deep = [deep]
    for value in (text, [text], {"k": text}, {text: 1}, {"k": [{"k": (1, text)}]}, deep):
        with pytest.raises(InvalidParameter):
            texts.check_all(value)


@given(ANY)
def test_what_is_made_storable_is(text: str) -> None:
    made = texts.storable(text)
    assert texts.is_storable(made)
    assert len(made) == len(text)
    assert made == text or not texts.is_storable(text)


@given(ANY | st.text("/\\ \t\n\r\0ab.:@", max_size=12))
def test_where_a_login_goes_next_fits_into_a_header(text: str) -> None:
    target = safe_next(text)
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\"))
    assert target.isprintable()


async def test_the_database_takes_none_and_neighbours_do_not_suffer(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'hub.db'}")
    migrate(db)

    async def make(name: str, description: str) -> object:
        return await db.write(repositories.create, name, private=False, description=description)

    made = await asyncio.gather(
        *(make(f"a/{number}", text) for number, text in enumerate(["fine", *BAD, "fine too"])),
        return_exceptions=True,
    )
    kinds = [type(each) for each in made]
    assert kinds == [repositories.Repository, *[InvalidParameter] * 5, repositories.Repository]
    for text in BAD:
        with pytest.raises(InvalidParameter):
            await db.read(repositories.find, text)
    db.close()
