import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine.filters import Filters, parse
from wherry.errors import InvalidParameter


def test_both_forms_mean_the_same() -> None:
    assert parse('{"label":{"a=b":true,"c":true}}') == parse('{"label":["a=b","c"]}')


@pytest.mark.parametrize("text", [None, "", "{}", "null", '{"a":null}'])
def test_nothing_given_matches_everything(text: str | None) -> None:
    filters = parse(text)
    assert filters.exact("a", "x")
    assert filters.pattern("a", "x")
    assert filters.pairs("a", {})


@pytest.mark.parametrize("text", ["[]", "1", "{", '{"a":"b"}', '{"a":[1]}', '{"a":{"b":"c"}}'])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid filter"):
        parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidParameter):
        assert isinstance(parse(text), Filters)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="invalid filter 'colour'"):
        parse('{"colour":["red"]}').allow({"label"})


def test_flags() -> None:
    assert parse('{"dangling":["1"]}').flag("dangling", False)
    assert not parse('{"dangling":{"false":true}}').flag("dangling", True)
    assert Filters().flag("dangling", True)
    with pytest.raises(InvalidParameter, match=r"invalid filter 'dangling=\[maybe\]'"):
        parse('{"dangling":["maybe"]}').flag("dangling", True)


def test_patterns_are_found_anywhere_and_bad_ones_are_literal() -> None:
    assert parse('{"name":["^web"]}').pattern("name", "web-1")
    assert not parse('{"name":["^eb"]}').pattern("name", "web-1")
    assert parse('{"name":["a("]}').pattern("name", "a(")
    assert not parse('{"name":["a("]}').pattern("name", "a")


def test_every_label_must_match() -> None:
    labels = {"a": "1", "b": "2"}
    assert parse('{"label":["a","b=2"]}').pairs("label", labels)
    assert not parse('{"label":["a","b=3"]}').pairs("label", labels)
    assert not parse('{"label!":["a"]}').no_pairs("label!", labels)
    assert parse('{"label!":["a=2"]}').no_pairs("label!", labels)
