"""Ranges of host ids: nobody else's, and never those of another engine."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine.config.codec import decode
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig
from wherry.engine.containers.idranges import (
    SIZE,
    Entry,
    IdRanges,
    blocks,
    merged,
    parse,
    parse_accounts,
)
from wherry.engine.containers.record import Record
from wherry.errors import Unavailable

Maker = Callable[[str], IdRanges]
WHERRY = f"wherry:100000:{3 * SIZE + 5}\n"


@pytest.fixture
def engine(tmp_path: Path) -> Maker:
    """Makes the ranges of an engine; all engines share the folder of claims."""

    def make(name: str) -> IdRanges:
        (tmp_path / name).mkdir(exist_ok=True)
        files = [tmp_path / kind for kind in ("subuid", "subgid", "passwd", "group")]
        return IdRanges(
            str(tmp_path / name),
            str(tmp_path / "claims"),
            [str(path) for path in files[:2]],
            [str(path) for path in files[2:]],
        )

    return make


def everything(tmp_path: Path, text: str) -> None:
    for kind in ("subuid", "subgid"):
        (tmp_path / kind).write_text(text)


def test_lines_that_are_entries() -> None:
    text = "a:1:2\n# a:1:2\n\nb:x:2\nc:1\n  d:3:4  \n1000:5:6\ne:²:1\n"
    assert parse(text) == (Entry("a", 1, 2), Entry("d", 3, 4), Entry("1000", 5, 6))
    assert parse_accounts("root:x:0:0::/:\nbad\nx:y:z\n") == (Entry("root", 0, 1),)


entries = st.builds(
    Entry, st.sampled_from(["a", "b", "wherry"]), st.integers(0, 2**31), st.integers(0, 2**24)
)


@given(st.lists(entries, max_size=5), st.lists(entries, max_size=5))
def test_no_range_is_anybody_elses(users: list[Entry], groups: list[Entry]) -> None:
    some = islice(blocks(users, groups), 40)
    found = [first for block in some for first in block.ranges]
    assert len({*found}) == len(found)
    assert all(65536 <= first < 2**32 - SIZE for first in found)
    for first in found:
        for entry in (*users, *groups):
            if entry.owner != "wherry":
                assert first + SIZE <= entry.first or entry.end <= first or entry.count == 0
    for kind in (users, groups):
        if any(e.owner == "wherry" for e in users) and any(e.owner == "wherry" for e in groups):
            own = merged(entry for entry in kind if entry.owner == "wherry")
            firsts = [f for f in found if f < 524288 or f % SIZE]
            assert all(any(a <= f and f + SIZE <= b for a, b in own) for f in firsts)


def test_the_first_range_is_what_it_was_before(engine: Maker) -> None:
    assert engine("a").take(set()) == 524288


def test_two_engines_and_a_login_user(engine: Maker, tmp_path: Path) -> None:
    everything(tmp_path, f"alice:524288:{SIZE}\nbob:{524288 + SIZE * 3 - 1}:1\n")
    (tmp_path / "passwd").write_text(f"carol:x:{524288 + SIZE * 5 + 7}:1::/:\n")
    one, two = engine("one"), engine("two")
    ones, twos = set[int](), set[int]()
    for _ in range(40):
        ones.add(one.take(ones))
        twos.add(two.take(twos))
    assert len(ones) == len(twos) == 40 and not ones & twos
    assert not (ones | twos) & {524288 + SIZE * n for n in (0, 2, 5)}


def test_an_entry_of_ours_is_where_all_comes_from(engine: Maker, tmp_path: Path) -> None:
    everything(tmp_path, f"alice:524288:{SIZE}\n{WHERRY}")
    one = engine("one")
    taken = set[int]()
    for _ in range(3):
        taken.add(one.take(taken))
    assert taken == {100000, 100000 + SIZE, 100000 + 2 * SIZE}
    with pytest.raises(Unavailable, match="give more to the user wherry"):
        one.take(taken)
    with pytest.raises(Unavailable):
        engine("two").take(set())
    assert one.take(taken - {100000 + SIZE}) == 100000 + SIZE


def test_ids_given_up_rest_while_there_are_others(engine: Maker) -> None:
    one = engine("one")
    assert len({one.take(set()) for _ in range(16)}) == 16


def test_a_claim_outlives_the_engine_but_not_its_data_root(engine: Maker, tmp_path: Path) -> None:
    first = engine("one").take(set())
    assert engine("two").take(set()) != first
    assert engine("one").take(set()) == first  # the engine has come back
    (tmp_path / "one").rmdir()
    (tmp_path / "two").rmdir()
    assert engine("three").take(set()) == first
    assert len([p for p in (tmp_path / "claims").iterdir() if "-" in p.name]) == 1


def test_what_containers_have_from_before_is_kept(engine: Maker) -> None:
    one, two = engine("one"), engine("two")
    one.keep(524288 + 3 * SIZE)
    others = {two.take(set()) for _ in range(16)}
    assert min(others) == 524288 + 16 * SIZE
    assert one.take({524288 + 3 * SIZE}) == 524288
    two.keep(524288 + 3 * SIZE)  # both had it before there were claims: no more can be done
    one.give_up()
    two.give_up()
    assert engine("three").take(set()) == 524288


def test_subordinate_ids_that_change_do_not_open_a_claim(engine: Maker, tmp_path: Path) -> None:
    ones = {engine("one").take(set())}
    everything(tmp_path, f"wherry:{524288 - 100}:{SIZE * 64}\n")
    two = engine("two")
    for _ in range(20):
        first = two.take(ones)
        assert all(first + SIZE <= one or one + SIZE <= first for one in ones)


def test_records_from_before_ranges_had_first_ids() -> None:
    record = Record("i", "n", 1, "", "linux", (), "d", *_configs(), ())
    kept = {**record.to_json(), "range": 2}
    del kept["first_id"]
    assert Record.from_json(kept).first_id == 524288 + 2 * SIZE
    assert Record.from_json({**kept, "range": None}).first_id is None
    assert Record.from_json(record.to_json()) == record


def _configs() -> tuple[ContainerConfig, HostConfig]:
    return decode(ContainerConfig, {"Image": "x"}), decode(HostConfig, {})
