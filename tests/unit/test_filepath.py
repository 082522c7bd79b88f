import pytest

from wherry import filepath


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "."),
        ("abc", "abc"),
        ("abc/", "abc"),
        ("abc//def", "abc/def"),
        ("//abc", "/abc"),
        ("./../abc", "../abc"),
        ("/../abc", "/abc"),
        ("abc/def/../..", "."),
        ("abc/./def", "abc/def"),
        ("/", "/"),
        ("//", "/"),
    ],
)
def test_clean(path: str, expected: str) -> None:
    assert filepath.clean(path) == expected


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("[a-ζ]*", "α", True),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "-", True),
        ("[\\-x]", "a", False),
        ("[c-a]", "b", False),
        ("*x", "xxx", True),
        ("a.c", "abc", False),
        ("[.]", ".", True),
    ],
)
def test_match(pattern: str, name: str, expected: bool) -> None:
    assert filepath.match(pattern, name) is expected


@pytest.mark.parametrize(
    "pattern", ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "[\\"]
)
def test_malformed_pattern(pattern: str) -> None:
    with pytest.raises(filepath.BadPattern):
        filepath.match(pattern, "a")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("a", False), ("a*", True), ("a\\*", False), ("[a]", True), ("a\\\\*", True), ("?", True)],
)
def test_has_wildcard(pattern: str, expected: bool) -> None:
    assert filepath.has_wildcard(pattern) is expected


def test_many_stars_cost_no_more_than_one() -> None:
    assert not filepath.match("*a" * 100 + "*b", "a" * 255)
    assert filepath.match("*a" * 100 + "*b", "a" * 254 + "b")


def test_a_range_around_the_slash_does_not_match_it() -> None:
    assert filepath.match("[.-0]", "0") and not filepath.match("[.-0]", "/")
