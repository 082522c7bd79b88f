"""Rate limits: what is counted together, and for how long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine

from wherry.hub.accounts.limits import (
    LONGEST_SECONDS,
    Limit,
    count,
    forget,
    source,
    uncount,
    within,
)
from wherry.hub.schema import metadata

PULLS, PUSHES = Limit("pull", 2, 10), Limit("push", 1, 10)


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        yield connection


def test_a_limit_lets_go_after_its_time(conn: Connection) -> None:
    assert count(conn, [(PULLS, "a")], now=0)
    assert count(conn, [(PULLS, "a")], now=1)
    assert not count(conn, [(PULLS, "a")], now=9)
    assert count(conn, [(PULLS, "b")], now=9)
    assert count(conn, [(PULLS, "a")], now=10.5)


def test_one_full_limit_counts_none(conn: Connection) -> None:
    assert count(conn, [(PUSHES, "a")], now=0)
    for _ in range(3):
        assert not count(conn, [(PULLS, "x"), (PUSHES, "a")], now=1)
    assert within(conn, [(PULLS, "x")], now=1)
    assert not within(conn, [(PULLS, "x"), (PUSHES, "a")], now=1)


def test_what_no_limit_looks_at_is_forgotten(conn: Connection) -> None:
    for moment in (0, 5, LONGEST_SECONDS + 4):
        assert count(conn, [(PUSHES, f"at {moment}")], now=moment)
    assert forget(conn, now=LONGEST_SECONDS + 4) == 1
    assert forget(conn, now=LONGEST_SECONDS + 4) == 0


def test_an_event_can_be_taken_back(conn: Connection) -> None:
    assert count(conn, [(PULLS, "a"), (PUSHES, "a")], now=1)
    assert not count(conn, [(PUSHES, "a")], now=2)
    uncount(conn, [(PULLS, "a"), (PUSHES, "a")], now=1)
    assert count(conn, [(PUSHES, "a")], now=2)
    # One event at a time, though others were counted at the same moment.
    assert count(conn, [(PULLS, "b")], now=3)
    assert count(conn, [(PULLS, "b")], now=3)
    uncount(conn, [(PULLS, "b")], now=3)
    assert count(conn, [(PULLS, "b")], now=3)
    assert not count(conn, [(PULLS, "b")], now=3)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_counts_as_one(address: str, counted: str) -> None:
    assert source(address) == counted
