"""The name server's messages and decisions."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.network.porter import names
from wherry.network.porter.names import Table


def message(name: str, kind: int = names.TYPE_A, size: int = 0) -> bytes:
    """A query as resolvers send it; ``size`` adds an OPT record."""
    header = struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 1 if size else 0)
    question = names.encode_name(name) + struct.pack(">HH", kind, 1)
    extra = b"\0" + struct.pack(">HHIH", names.TYPE_OPT, size, 0, 0) if size else b""
    return header + question + extra


def query(name: str, kind: int = names.TYPE_A, size: int = 0) -> names.Query:
    parsed = names.parse_query(message(name, kind, size))
    assert parsed is not None
    return parsed


@pytest.fixture
def table() -> Table:
    made = Table("net")
    made.set("c1", ["web", "Front"], ["10.0.0.2", "fd00::2"])
    made.set("c2", ["db", "front"], ["10.0.0.3"])
    return made


def addresses(table: Table, name: str, kind: int = names.TYPE_A, turn: int = 0) -> list[bytes]:
    found = names.answer(query(name, kind), [table], {"alias": "db"}, turn)
    assert found is not None and found[0] == names.NOERROR
    return [record[12:] for record in found[1]]


def test_names_are_found_whatever_their_case(table: Table) -> None:
    assert addresses(table, "WEB") == [bytes([10, 0, 0, 2])]
    assert addresses(table, "web.net") == [bytes([10, 0, 0, 2])]
    assert addresses(table, "alias") == [bytes([10, 0, 0, 3])]


def test_a_name_without_such_an_address_is_an_empty_answer(table: Table) -> None:
    assert addresses(table, "db", names.TYPE_AAAA) == []
    assert addresses(table, "db", 15) == []


def test_shared_names_take_turns(table: Table) -> None:
    first, second = addresses(table, "front"), addresses(table, "front", turn=1)
    assert first == list(reversed(second)) and len(first) == 2


def test_unknown_names_are_left_to_others(table: Table) -> None:
    assert names.answer(query("example.org"), [table], {}, 0) is None
    assert names.answer(query("9.0.0.10.in-addr.arpa", names.TYPE_PTR), [table], {}, 0) is None


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("2.0.0.10.in-addr.arpa", "10.0.0.2"),
        ("2." + "0." * 27 + "0.d.f.ip6.arpa", None),
        ("2." + "0." * 27 + "0.0.d.f.ip6.arpa", "fd00::2"),
        ("x.0.0.10.in-addr.arpa", None),
        ("999.0.0.10.in-addr.arpa", None),
        ("10.in-addr.arpa", None),
    ],
)
def test_reverse_names(name: str, address: str | None) -> None:
    assert names.reverse_address(name) == address


def test_pointers_name_the_network(table: Table) -> None:
    found = names.answer(query("2.0.0.10.in-addr.arpa", names.TYPE_PTR), [table], {}, 0)
    assert found is not None
    assert found[1][0].endswith(names.encode_name("web.net"))


def test_a_removed_container_is_forgotten(table: Table) -> None:
    table.remove("c1")
    assert table.addresses("web") is None
    assert table.addresses("front") == ["10.0.0.3"]
    assert table.pointer("10.0.0.2") is None
    table.remove("c2")
    assert table.is_empty


def test_long_answers_are_cut_and_say_so() -> None:
    records = [names.address_record(f"10.0.1.{number}") for number in range(100)]
    short = names.reply(query("web"), names.NOERROR, records)
    assert len(short) <= 512 and short[2] & 0x02
    larger = names.reply(query("web", size=4096), names.NOERROR, records)
    assert not larger[2] & 0x02 and struct.unpack(">H", larger[6:8])[0] == 100
    whole = names.reply(query("web"), names.NOERROR, records, limit=65535)
    assert not whole[2] & 0x02


def test_an_answer_repeats_the_question() -> None:
    answer = names.reply(query("Web"), names.NXDOMAIN)
    assert answer[:2] == b"\x12\x34"
    assert answer[3] & 0x0F == names.NXDOMAIN
    assert answer[12:] == message("Web")[12:]


@given(st.binary(max_size=600))
def test_no_bytes_make_the_parser_fail(data: bytes) -> None:
    parsed = names.parse_query(data)
    if parsed is not None:
        names.answer(parsed, [Table("n")], {}, 0)
        names.reply(parsed, names.SERVFAIL)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        message("web")[:11],
        message("web")[:-1],
        b"\x12\x34\x81\x80" + message("web")[4:],  # an answer
        message("web")[:4] + b"\0\2" + message("web")[6:],  # two questions
        message("web")[:12] + b"\xc0\x0c\0\1\0\1",  # a pointer
    ],
)
def test_what_is_no_query_is_refused(data: bytes) -> None:
    assert names.parse_query(data) is None
