"""The reference grammar, with the cases that Docker documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.images.reference import check_digest, parse, with_tag, with_tag_or_digest

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("index.docker.io/app", "docker.io/library/app", "app"),
        ("docker.io/library/app", "docker.io/library/app", "app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"),
        ("Host/app", "Host/app", "Host/app"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b", "[::1]:5000/a/b"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e", "a__b/c-d.e"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}", f"app:1@{DIGEST}"),
        ("library/app/deep", "docker.io/library/app/deep", "library/app/deep"),
    ],
)
def test_names_are_normalised(text: str, full: str, familiar: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("app:", "invalid reference format"),
        ("-app", "invalid reference format"),
        ("app..x", "invalid reference format"),
        ("a/../b", "invalid reference format"),
        ("app:tag with space", "invalid reference format"),
        ("app\n", "invalid reference format"),
        ("app:" + "x" * 129, "invalid reference format"),
        ("App", "invalid reference format: repository name (library/App) must be lowercase"),
        ("user/App:1", "invalid reference format: repository name (user/App) must be lowercase"),
        ("app@sha256:" + "z" * 64, "invalid reference format"),
        ("app@sha256:" + "a" * 63, "invalid checksum digest length"),
        ("app@md5:" + "a" * 32, "unsupported digest algorithm"),
        (
            "a" * 64,
            f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings",
        ),
        ("x/" + "a" * 255, "repository name must not be more than 255 characters"),
    ],
)
def test_bad_names_are_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse(text)
    assert str(caught.value) == message


def test_default_tag_only_where_nothing_else_is_said() -> None:
    assert parse("app").tagged().tag == "latest"
    assert parse("app:1").tagged().tag == "1"
    assert parse(f"app@{DIGEST}").tagged().tag is None


def test_repo_and_tag_parameters() -> None:
    assert with_tag("app", "1").familiar == "app:1"
    assert with_tag("app", "").familiar == "app:latest"
    with pytest.raises(InvalidParameter):
        with_tag(f"app@{DIGEST}", "1")
    with pytest.raises(InvalidParameter):
        with_tag("app", "not a tag")


@pytest.mark.parametrize(
    ("name", "tag", "wanted"),
    [
        ("app", DIGEST, f"app@{DIGEST}"),
        ("app:1", DIGEST, f"app@{DIGEST}"),
        (f"app@{DIGEST}", DIGEST, f"app@{DIGEST}"),
        (f"app@{DIGEST}", "", f"app@{DIGEST}"),
        ("app", "1", "app:1"),
        ("app", "", "app"),
    ],
)
def test_a_digest_as_the_tag_of_a_pull(name: str, tag: str, wanted: str) -> None:
    assert with_tag_or_digest(name, tag).familiar == wanted


def test_a_pull_of_what_is_neither_tag_nor_digest() -> None:
    with pytest.raises(InvalidParameter, match="invalid tag format"):
        with_tag_or_digest("app", "sha256:abc")


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:", "SHA256:" + "a" * 64, "x"])
def test_digests_that_are_none(digest: str) -> None:
    with pytest.raises(InvalidParameter):
        check_digest(digest)


_PART = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)?", fullmatch=True).filter(
    lambda part: len(part) < 60
)


@given(
    st.lists(_PART, min_size=1, max_size=3),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
)
def test_what_the_grammar_makes_is_read_back(parts: list[str], tag: str | None) -> None:
    text = "example.org/" + "/".join(parts) + (f":{tag}" if tag else "")
    reference = parse(text)
    assert str(reference) == text
    assert parse(reference.familiar) == reference


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidParameter:
        return
    assert parse(str(reference)) == reference
