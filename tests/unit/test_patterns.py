import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.engine.filters import parse
from wherry.patterns import Pattern, compiled

ATOMS = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "^", "$", r"\b", "[a-c_]", r"\.", "é", "-"]
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,2}", "*?"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(expression=EXPRESSIONS, text=st.text(st.sampled_from("abc1_-é. A\n"), max_size=8))
def test_it_finds_what_pythons_own_matcher_finds(expression: str, text: str) -> None:
    pattern = compiled(expression)
    assert pattern is not None
    found = re.search(expression, text) is not None
    assert pattern.search(text) == pattern.follow(text) == found


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("(?i)WEB", "my-web-1", True), ("^web-.*-db$", "web-a-db", True), ("", "x", True),
        ("^web-.*-db$", "web-a-dbx", False), ("a{3}", "aab", False), ("a{2,}$", "baaa", True),
        ("(?s)a.b", "a\nb", True), ("a.b", "a\nb", False), ("[]]", "]", True),
        (r"[\w-]+", "!", False), ("x|", "y", True),
    ],
)  # fmt: skip
def test_cases(expression: str, text: str, found: bool) -> None:
    pattern = compiled(expression)
    assert pattern is not None
    assert pattern.search(text) == pattern.follow(text) == found


@pytest.mark.parametrize(
    "expression",
    ["(", "a{99999}", "(?=a)", "(?<!a)b", r"(a)\1", "(" * 5_000, "a{500}{500}", "*", "[b-a]"],
)
def test_what_is_invalid_or_too_large_finds_nothing(expression: str) -> None:
    assert compiled(expression) is None
    assert not parse(f'{{"name":[{expression!r}]}}'.replace("'", '"')).pattern("name", "aab") or (
        expression.startswith("\\")
    )


@pytest.mark.parametrize(
    "expression",
    ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*)*x", "a?" * 40 + "a" * 40, "(?:a|aa)" * 60 + "b"],
)
def test_no_expression_keeps_the_engine_busy(expression: str) -> None:
    """Python's own matcher takes longer for some of these than the universe has existed."""
    pattern = compiled(expression)
    assert pattern is not None
    assert not pattern.search("a" * 35 + "!")


@pytest.mark.parametrize("expression", ["^a*$", ".*a.*b", "a.*a.*a.*b", "a?a?a?a?a?b"])
def test_long_texts_are_followed_in_one_pass(expression: str) -> None:
    pattern = compiled(expression)
    assert pattern is not None
    assert not pattern.search("a" * 3_000 + "!")


GLOBS = st.lists(
    st.sampled_from(["a", "b", ".", ".*", "[^/]*", "(?:.*/)?", "[^b]", "/"]), max_size=7
).map("".join)


@settings(max_examples=300, deadline=None)
@given(glob=GLOBS, text=st.text(st.sampled_from("ab/\n"), max_size=9), begin=st.integers(0, 9))
def test_ends_are_those_of_all_matches(glob: str, text: str, begin: int) -> None:
    pattern = Pattern(glob)
    expected = [
        end
        for end in range(begin, len(text) + 1)
        if re.compile(glob).fullmatch(text, begin, end) is not None
    ]
    assert list(pattern.ends(text, begin)) == expected
    assert pattern.fullmatch(text) == (re.fullmatch(glob, text) is not None)


def test_what_is_kept_of_steps_is_limited() -> None:
    pattern = Pattern("(?s).*a" + "." * 60)
    text = "".join("ab"[n * n % 7 % 2] for n in range(3_000))
    assert list(pattern.ends(text)) == [end for end in range(61, 3_001) if text[end - 61] == "a"]
    assert pattern._kept <= 50_000
