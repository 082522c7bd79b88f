import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.builder.errors import SyntaxProblem
from wherry.builder.words import MAX_LENGTH, Expander

ENVIRONMENT = {
    "A": "hello",
    "EMPTY": "",
    "PATH": "/usr/bin:/bin",
    "FILE": "archive.tar.gz",
    "SP": "two words",
    "STAR": "a*c",
    "été": "summer",
    "SLASH": "a/b/c",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A", "hello"),
        ("${A}", "hello"),
        ("x$A.y", "xhello.y"),
        ("$A$A", "hellohello"),
        ("$UNSET", ""),
        ("a$UNSET-b", "a-b"),
        ("$", "$"),
        ("a$", "a$"),
        ("$ a", "$ a"),
        ("\\$A", "$A"),
        ("\\${A}", "${A}"),
        ("'$A'", "$A"),
        ('"$A"', "hello"),
        ('"\\$A"', "$A"),
        ('"a\\"b"', 'a"b'),
        ('"a\\nb"', "a\\nb"),
        ("a\\nb", "anb"),
        ("'it''s'", "its"),
        ("a\\", "a"),
        ('"\\\\"', "\\"),
        ("a b  c", "a b  c"),
        ("${A:-x}", "hello"),
        ("${UNSET:-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${UNSET-x}", "x"),
        ("${UNSET:-$A}", "hello"),
        ("${UNSET:-${ALSO:-deep}}", "deep"),
        ("${UNSET:-}", ""),
        ("${A:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${UNSET+x}", ""),
        ("${A:?wrong}", "hello"),
        ("${EMPTY?wrong}", ""),
        ("${FILE#*.}", "tar.gz"),
        ("${FILE##*.}", "gz"),
        ("${FILE%.*}", "archive.tar"),
        ("${FILE%%.*}", "archive"),
        ("${FILE#nomatch}", "archive.tar.gz"),
        ("${FILE%?z}", "archive.tar."),
        ("${STAR#a\\*}", "c"),
        ("${STAR#\\*}", "a*c"),
        ("${SLASH#*\\/}", "b/c"),
        ("${FILE/a/A}", "Archive.tar.gz"),
        ("${FILE//a/A}", "Archive.tAr.gz"),
        ("${FILE/.tar*/.zip}", "archive.zip"),
        ("${SLASH//\\//_}", "a_b_c"),
        ("${FILE/x/y}", "archive.tar.gz"),
        ("${UNSET/x/y}", ""),
        ("$1", ""),
        ("$12a", "a"),
        ("$@", ""),
        ("$été", "summer"),
        ("${A}text${EMPTY}", "hellotext"),
        ('"${UNSET:-"inner"}"', "inner"),
        ("%A%", "%A%"),
    ],
)
def test_word(text: str, expected: str) -> None:
    assert Expander(ENVIRONMENT).word(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${A", "syntax error: missing"),
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:-x}", "syntax error: bad substitution"),
        ("${{A}}", "syntax error: bad substitution"),
        ("${A:-x", "syntax error: missing '}'"),
        ("${A/x}", "syntax error: missing '/' in"),
        ("${A!x}", r"unsupported modifier \(!\) in substitution"),
        ("${A:x}", r"unsupported modifier \(:x\) in substitution"),
        ("'open", "looking for matching single-quote"),
        ('"open', "looking for matching double-quote"),
        ("${UNSET:?not there}", "UNSET: not there"),
        ("${UNSET?}", "UNSET: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${A#\\x}", r"invalid escape '\\x'"),
    ],
)
def test_problem(text: str, problem: str) -> None:
    with pytest.raises(SyntaxProblem, match=f"failed to process .*{problem}"):
        Expander(ENVIRONMENT).word(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ["a", "b"]),
        ("  a   b ", ["a", "b"]),
        ("$SP", ["two", "words"]),
        ('"$SP"', ["two words"]),
        ("'a b' c", ["a b", "c"]),
        ("a\\ b", ["a b"]),
        ("", []),
        ("$EMPTY", []),
        ("x$SP", ["xtwo", "words"]),
        ("80 $UNSET 90/udp", ["80", "90/udp"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert Expander(ENVIRONMENT).words(text) == expected


def test_other_escape_character() -> None:
    assert Expander(ENVIRONMENT, "`").word("C:\\dir `$A $A") == "C:\\dir $A hello"


def test_used_and_undefined_names() -> None:
    expander = Expander(ENVIRONMENT)
    expander.word("$A ${UNSET:-$SP}")
    assert expander.used == {"A", "SP"}
    assert expander.undefined == {"UNSET"}


@pytest.mark.parametrize("text", ["$U", "${U}", "${U:-x}", "${U/a/b}", "${U%%x}"])
def test_unset_references_can_be_kept(text: str) -> None:
    assert Expander({}, keep_unset=True).word(text) == text


@given(st.text())
def test_single_quotes_keep_everything(text: str) -> None:
    text = text.replace("'", "")
    assert Expander(ENVIRONMENT).word(f"'{text}'") == text


@given(st.text())
def test_escaping_every_character_keeps_it(text: str) -> None:
    assert Expander(ENVIRONMENT).word("".join(f"\\{c}" for c in text)) == text


@given(st.text("ab${}:-+?#%/'\"\\ *", max_size=30))
def test_any_text_expands_or_is_refused(text: str) -> None:
    expander = Expander(ENVIRONMENT)
    with contextlib.suppress(SyntaxProblem):
        expander.word(text)


STARS = "*a" * 40
"""A matcher that tries one alternative after another does not end with these."""


@pytest.mark.parametrize("operation", ["#", "##", "%", "%%", "/", "//"])
def test_many_stars_cost_no_more_than_one(operation: str) -> None:
    end = "/x}" if operation[0] == "/" else "}"
    value = "a" * 2_000
    expander = Expander({"A": value})
    assert expander.word(f"${{A{operation}b{STARS}*b{end}") == value
    assert expander.word(f"${{A{operation}{STARS}*b*{end}") == value


@settings(deadline=None)
@given(
    value=st.text(st.sampled_from("ab.\n"), max_size=8),
    pattern=st.text(st.sampled_from("ab*?"), min_size=1, max_size=5),
)
def test_patterns_are_those_of_an_ordinary_matcher(value: str, pattern: str) -> None:
    expander = Expander({"A": value})
    greedy = pattern.replace("*", ".*").replace("?", ".")
    lazy = greedy.replace(".*", ".*?")
    if not pattern.startswith("#"):
        assert expander.word(f"${{A#{pattern}}}") == re.sub(rf"\A{lazy}", "", value, count=1)
        assert expander.word(f"${{A##{pattern}}}") == re.sub(rf"\A{greedy}", "", value, count=1)
    assert expander.word(f"${{A/{pattern}/<>}}") == re.sub(greedy, "<>", value, count=1)


def test_nothing_is_replaced_right_behind_something() -> None:
    assert Expander({"A": "abc"}).word("${A//*/x}") == "x"
    assert Expander({"A": ""}).word("${A//*/x}") == "x"


def test_values_of_values_are_limited() -> None:
    expander = Expander({"A": "a" * (MAX_LENGTH // 4)})
    assert len(expander.word("$A$A$A")) == MAX_LENGTH // 4 * 3
    for text in ("$A$A$A$A$A", '"$A$A$A$A$A"', "${A//a/bbbbbb}", "${B:-$A$A$A$A$A}"):
        with pytest.raises(SyntaxProblem, match="is longer than"):
            expander.word(text)


def test_patterns_have_little_to_search() -> None:
    with pytest.raises(SyntaxProblem, match="too long for so long a value"):
        Expander({"A": "a" * 1_000}).word("${A#" + "*a" * 1_000 + "}")


def test_depth_is_limited() -> None:
    with pytest.raises(SyntaxProblem, match="nested too deeply"):
        Expander({}).word("${A:-" * 5_000 + "x" + "}" * 5_000)
