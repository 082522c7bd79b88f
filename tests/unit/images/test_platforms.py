"""Platforms as people and clients write them."""

import pytest

from wherry.errors import InvalidParameter
from wherry.images.platforms import Platform, parse_platform


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("arm64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("linux/arm/v6", Platform("linux", "arm", "v6")),
        ("armel", Platform("linux", "arm", "v6")),
        ("x86_64", Platform("linux", "amd64")),
        ("linux/new", Platform("linux", "new")),
        ("Linux/x86_64", Platform("linux", "amd64")),
        ('{"os":"linux","architecture":"arm64"}', Platform("linux", "arm64")),
        ('{"os":"linux","architecture":"arm","variant":"v6"}', Platform("linux", "arm", "v6")),
    ],
)
def test_platforms(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a/b/c/d",
        "linux//v7",
        "linux/",
        "li nux/x",
        "{",
        "{}",
        '{"os":"linux"}',
        '{"os":1}',
        "[]/x/y/z",
    ],
)
def test_no_platforms(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_platform(text)


@pytest.mark.parametrize("text", ["foo", "amd65"])
def test_words_that_are_no_platform(text: str) -> None:
    problem = f'"{text}": unknown operating system or architecture: invalid argument'
    with pytest.raises(InvalidParameter) as caught:
        parse_platform(text)
    assert str(caught.value) == problem
