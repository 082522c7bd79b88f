"""Sizes, ages, ports, moments, columns and keys as people read and write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import golang
from wherry.cli import moments, references, units
from wherry.cli.errors import CliError
from wherry.cli.ports_column import ports_column
from wherry.cli.progress import bar
from wherry.cli.tables import columns, ellipsis, short_id
from wherry.cli.terminal import DetachFilter, detach_sequence


@pytest.mark.parametrize(
    ("size", "shown", "short"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1kB"),
        (1984172, "1.984MB", "1.98MB"),
        (170_000_000, "170MB", "170MB"),
        (2_500_000_000, "2.5GB", "2.5GB"),
    ],
)
def test_sizes(size: int, shown: str, short: str) -> None:
    assert (units.human_size(size), units.short_size(size)) == (shown, short)


def test_binary_sizes() -> None:
    assert units.binary_size(25276510208) == "23.54GiB"
    assert units.binary_size(0) == "0B"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_ages(seconds: float, shown: str) -> None:
    assert units.age(seconds) == shown


def port(private: int, public: int = 0, ip: str = "", kind: str = "tcp") -> dict[str, object]:
    return {"PrivatePort": private, "PublicPort": public, "IP": ip, "Type": kind}


@pytest.mark.parametrize(
    ("ports", "shown"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(80), port(81), port(82)], "80-82/tcp"),
        ([port(80), port(90)], "80/tcp, 90/tcp"),
        ([port(53, kind="udp"), port(53)], "53/tcp, 53/udp"),
        ([port(80, 8080, "0.0.0.0")], "0.0.0.0:8080->80/tcp"),
        (
            [port(80, 80, "0.0.0.0"), port(81, 81, "0.0.0.0"), port(80, 80, "::")],
            "0.0.0.0:80-81->80-81/tcp, [::]:80->80/tcp",
        ),
        ([port(80, 8080, "::")], "[::]:8080->80/tcp"),
    ],
)
def test_ports_column(ports: list[dict[str, object]], shown: str) -> None:
    assert ports_column(ports) == shown


@pytest.mark.parametrize(
    ("text", "nanoseconds", "shown"),
    [
        ("1h15m30.5s", 4530500000000, "1h15m30.5s"),
        ("300ms", 300000000, "300ms"),
        ("1m", 60000000000, "1m0s"),
        ("-1.5h", -5400000000000, "-1h30m0s"),
        ("0", 0, "0s"),
        ("1us2ns", 1002, "1.002µs"),
    ],
)
def test_durations(text: str, nanoseconds: int, shown: str) -> None:
    assert golang.parse_duration(text) == nanoseconds
    assert golang.format_duration(nanoseconds) == shown


@given(st.integers(-(10**17), 10**17))
def test_durations_survive_a_round_trip(nanoseconds: int) -> None:
    assert golang.parse_duration(golang.format_duration(nanoseconds)) == nanoseconds


def test_moments() -> None:
    assert moments.moment("") is None
    assert moments.moment("1136073845") == "1136073845"
    assert moments.moment("1136073845.000000001") == "1136073845.000000001"
    assert moments.moment("2006-01-02T03:04:05Z") == "1136171045.000000000"
    assert moments.moment("2006-01-02T03:04:05.25+02:00") == "1136163845.250000000"
    hour_ago = float(moments.moment("1h") or 0)
    assert abs(time.time() - 3600 - hour_ago) < 60
    with pytest.raises(CliError, match="failed to parse value as time or duration"):
        moments.moment("nonsense")


def test_columns_reach_as_far_as_their_neighbours() -> None:
    assert columns(["A\tB", "longer value\tx"]) == "A              B\nlonger value   x\n"
    assert columns(["A\tB"]) == "A         B\n"


def test_short_forms() -> None:
    assert ellipsis("abcdef", 4) == "abc…"
    assert ellipsis("abc", 3) == "abc"
    assert short_id("sha256:" + "ab" * 32) == "abababababab"


@pytest.mark.parametrize(
    ("name", "registry", "path", "familiar"),
    [
        ("busybox", "docker.io", "library/busybox", "busybox"),
        ("user/app:1", "docker.io", "user/app", "user/app:1"),
        ("docker.io/library/x", "docker.io", "library/x", "x"),
        ("localhost/x", "localhost", "x", "localhost/x"),
        ("reg.example:5000/a/b@sha256:00", "reg.example:5000", "a/b", "reg.example:5000/a/b"),
    ],
)
def test_references(name: str, registry: str, path: str, familiar: str) -> None:
    assert references.registry_of(name) == registry
    assert references.path_of(name) == path
    assert references.familiar(name) == familiar


def test_detach_keys_are_held_back_until_they_are_sure() -> None:
    assert detach_sequence("") == b"\x10\x11"
    assert detach_sequence("a,ctrl-[") == b"a\x1b"
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"ab\x10") == b"ab"
    assert keys.feed(b"c\x10\x10") == b"\x10c\x10"
    assert not keys.detached
    assert keys.feed(b"\x11 and more") == b""
    assert keys.detached


@given(st.binary(max_size=40), st.integers(1, 5))
def test_nothing_else_is_lost_by_the_filter(data: bytes, step: int) -> None:
    keys = DetachFilter(b"\x10\x11")
    passed = b"".join(keys.feed(data[i : i + step]) for i in range(0, len(data), step))
    before, found, _ = data.partition(b"\x10\x11")
    assert keys.detached == bool(found)
    assert passed == (before if found else data.removesuffix(b"\x10"))


def test_progress_bar() -> None:
    assert bar(0, 0, 80) == ""
    assert bar(1_000_000, 2_000_000, 80) == "     1MB/2MB"
    assert bar(1, 2, 120).startswith("[=========================>")
