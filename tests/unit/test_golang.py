"""What Go's standard library reads as a duration, and its words for what it does not."""

import pytest

from wherry.golang import parse_duration


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1.5h", 5400 * 10**9),
        ("-2ms", -2 * 10**6),
        ("1h2m3s4ms5us6ns", 3723004005006),
        (".5s", 5 * 10**8),
        ("1µs", 1000),
        ("9223372036854775807ns", (1 << 63) - 1),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "s", "1", "1x", "1s1", "--1s", ".s", "1e3s", "1d", "1h 2m", "9223372036854775808ns"],
)
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match="time: "):
        parse_duration(text)
