import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.dockerignore import Matcher, context_patterns, read_patterns


def test_read_patterns() -> None:
    text = "\ufeff# comment\n  # a pattern\r\n\n  a/b/../c  \n/rooted\n!  /kept \n./here\n!\n/\n"
    assert read_patterns(text) == ["# a pattern", "a/c", "rooted", "!kept", "here", "!", "/"]


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        (["**"], "file", True),
        (["**"], "dir/file", True),
        (["**/"], "file", True),
        (["**/"], "dir/file", True),
        (["**/**"], "dir/file", True),
        (["dir/**"], "dir/file", True),
        (["dir/**"], "dir/dir2/file", True),
        (["dir/**"], "dir", False),
        (["dir/**"], "dirx/file", False),
        (["**/dir"], "dir", True),
        (["**/dir"], "dir/file", True),
        (["**/dir2/*"], "dir/dir2/file", True),
        (["**/dir2/*"], "dir/dir2/dir2/file", True),
        (["**/dir2/**"], "dir/dir2/dir2/file", True),
        (["**file"], "file", True),
        (["**file"], "dir/file", True),
        (["**/file"], "dir/dir/file", True),
        (["**/file*"], "dir/dir/file.txt", True),
        (["**/file*txt"], "dir/dir/file.txt", True),
        (["**/file*.txt*"], "dir/dir/file.txt", True),
        (["**/*.txt"], "a.txt", True),
        (["**/**/*.txt"], "dir/dir/file.txt", True),
        (["**/**/*.txt2"], "dir/dir/file.txt", False),
        (["a**/*.txt"], "a/file.txt", True),
        (["a**/*.txt"], "a/dir/file.txt", True),
        (["a/*.txt"], "a/dir/file.txt", False),
        (["a/*.txt"], "a/file.txt", True),
        (["a/*.txt**"], "a/file.txt", True),
        (["a[b-d]e"], "ae", False),
        (["a[b-d]e"], "ace", True),
        (["a[^b-d]e"], "aze", True),
        ([".*"], ".foo", True),
        ([".*"], "foo", False),
        (["abc.def"], "abcZdef", False),
        (["abc?def"], "abcZdef", True),
        (["a\\*b"], "a*b", True),
        (["**/foo/bar"], "foo/bar", True),
        (["**/foo/bar"], "dir/dir2/foo/bar", True),
        (["abc/**"], "abc/def/ghi", True),
        (["**/.foo"], ".foo", True),
        (["**/.foo"], "bar.foo", False),
        (["./bar.*"], "bar.foo", True),
        (["*.md", "!README*"], "README.md", False),
        (["*.md", "!README*"], "other.md", True),
        (["*.md", "!README*", "README-secret.md"], "README-secret.md", True),
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs", "!docs/README.md"], "docs/guide.md", True),
        (["!docs/README.md", "docs"], "docs/README.md", True),
        (["*", "!src"], "src/a/b.c", False),
        (["*", "!src"], "other/a", True),
        (["foo+bar"], "foo+bar", True),
        (["(a|b){1}$"], "(a|b){1}$", True),
        (["a/b"], "a/b/c", True),
        (["a/b"], "a/bc", False),
        (["*/temp*"], "dir/temporary.txt", True),
        (["*/*/temp*"], "dir/sub/temporary.txt", True),
        (["*/*/temp*"], "dir/temporary.txt", False),
        (["temp?"], "tempa", True),
        (["**"], ".", False),
        (["[[]x"], "[x", True),
        (["\\é"], "é", True),
    ],
)
def test_excludes(patterns: list[str], path: str, excluded: bool) -> None:
    assert Matcher(patterns).excludes(path) is excluded


def test_lone_negation_is_refused() -> None:
    with pytest.raises(ValueError, match="illegal exclusion pattern"):
        Matcher(["!"])


@pytest.mark.parametrize(
    ("patterns", "directory", "expected"),
    [
        (["docs"], "docs", False),
        (["*", "!docs/a"], "docs", True),
        (["*", "!docs/a"], "src", False),
        (["*", "!**/a"], "src", True),
        (["*", "!src/*/a"], "src/x", True),
        (["*", "!src/*/a"], "lib", False),
    ],
)
def test_walk_below_excluded(patterns: list[str], directory: str, expected: bool) -> None:
    assert Matcher(patterns).may_include_below(directory) is expected


def test_dockerfile_and_ignore_file_are_always_sent() -> None:
    matcher = Matcher(context_patterns(["*"], "./build/Dockerfile"))
    assert not matcher.excludes("build/Dockerfile")
    assert not matcher.excludes(".dockerignore")
    assert matcher.excludes("other")


names = st.text("ab*?![]\\/-^.# \t{}+$", max_size=12)


@given(st.lists(names, max_size=4), names)
def test_any_input_is_decided_or_refused(patterns: list[str], path: str) -> None:
    try:
        matcher = Matcher(read_patterns("\n".join(patterns)))
    except ValueError:
        return
    assert isinstance(matcher.excludes(path), bool)


@given(st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,3}", fullmatch=True))
def test_a_name_excludes_itself_and_all_below(path: str) -> None:
    matcher = Matcher([path])
    assert matcher.excludes(path)
    assert matcher.excludes(f"{path}/below")
    assert not matcher.excludes(f"{path}z")
    assert not Matcher(["**", f"!{path}"]).excludes(path)


def test_many_stars_cost_no_more_than_one() -> None:
    matcher = Matcher(["*a" * 100 + "*b", "**/" * 100 + "b", "a**" * 30 + "b"])
    assert not matcher.excludes("a" * 255)
    assert not matcher.excludes("a/" * 1_000 + "c")
    assert matcher.excludes("a/" * 1_000 + "b")
