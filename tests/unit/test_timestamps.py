import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.timestamps import (
    SECOND,
    parse_duration,
    parse_moment,
    parse_rfc3339,
    parse_unix,
    rfc3339,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1h30m", 5400 * SECOND),
        ("1.5s", 1_500_000_000),
        ("-2ms", -2_000_000),
        ("3us", 3_000),
        (".5m", 30 * SECOND),
    ],
)
def test_go_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "h", "1h 2m", "1d", "-", "1h2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="time: "):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1136073600", 1136073600 * SECOND),
        ("1136073600.000000001", 1136073600 * SECOND + 1),
        ("1136073600.5", 1136073600 * SECOND + 500_000_000),
        ("2006-01-01", 1136073600 * SECOND),
        ("2006-01-01T00:00", 1136073600 * SECOND),
        ("2006-01-01T01:00:00+01:00", 1136073600 * SECOND),
        ("2006-01-01T00:00:00.25Z", 1136073600 * SECOND + 250_000_000),
        ("10m", 9400 * SECOND),
    ],
)
def test_moments(text: str, nanoseconds: int) -> None:
    assert parse_moment(text, now=10_000 * SECOND) == nanoseconds


@pytest.mark.parametrize("text", ["yesterday", "2006-13-01", "1e9", "١٢", "12.5.6", ""])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_moment(text, now=0)
    with pytest.raises(InvalidParameter):
        parse_unix(text)


def test_the_fraction_is_trimmed_or_padded() -> None:
    assert rfc3339(1136073600 * SECOND + 500_000_000) == "2006-01-01T00:00:00.5Z"
    assert rfc3339(1136073600 * SECOND) == "2006-01-01T00:00:00Z"
    assert rfc3339(1136073600 * SECOND, padded=True) == "2006-01-01T00:00:00.000000000Z"


@given(st.integers(min_value=0, max_value=4_000_000_000 * SECOND))
def test_rfc3339_loses_nothing(nanoseconds: int) -> None:
    assert parse_rfc3339(rfc3339(nanoseconds)) == nanoseconds
