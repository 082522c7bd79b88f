"""Where on the host a published port goes."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from wherry.errors import WherryError
from wherry.network.model import Address, PortBinding, PublishedPort
from wherry.network.ports import Taken, host_addresses, place

ANY4, ANY6, LOCAL = ip_address("0.0.0.0"), ip_address("::"), ip_address("127.0.0.1")
EPHEMERAL = (32768, 32770)


def binding(low: int, high: int | None = None) -> PortBinding:
    return PortBinding("tcp", 80, None, low, high or low)


def chosen(
    wanted: PortBinding, taken: set[tuple[str, Address, int]], addresses: list[Address]
) -> list[int]:
    return [
        port.host_port
        for port in place(wanted, addresses, Taken(taken), EPHEMERAL, 32769, lambda places: None)
    ]


def busy(places: Sequence[PublishedPort]) -> None:
    """A program on the host has the lowest port of every range."""
    if places[0].host_port in (80, 32769):
        raise OSError(errno.EADDRINUSE, "")


def test_a_port_that_a_program_has_is_a_conflict_or_passed_over() -> None:
    def place_busy(wanted: PortBinding) -> int:
        return place(wanted, [ANY4], Taken(), EPHEMERAL, 32769, busy)[0].host_port

    with pytest.raises(WherryError, match=r"failed to bind host port .*: address already in use"):
        place_busy(binding(80))
    assert place_busy(binding(80, 82)) == 81
    assert place_busy(binding(0)) == 32770


def test_both_ip_versions_get_the_same_port() -> None:
    assert chosen(binding(8080), set(), [ANY4, ANY6]) == [8080, 8080]


@pytest.mark.parametrize(
    ("taken", "wanted", "addresses"),
    [
        (("tcp", ANY4, 80), binding(80), [ANY4]),
        (("tcp", LOCAL, 80), binding(80), [ANY4]),
        (("tcp", ANY4, 80), binding(80), [LOCAL]),
        (("tcp", ANY6, 80), binding(80), [ANY4, ANY6]),
    ],
)
def test_a_taken_port_is_a_conflict_in_docker_s_words(
    taken: tuple[str, Address, int], wanted: PortBinding, addresses: list[Address]
) -> None:
    with pytest.raises(WherryError, match=r"^Bind for .*:80 failed: port is already allocated$"):
        chosen(wanted, {taken}, addresses)


@pytest.mark.parametrize(
    "taken", [("udp", ANY4, 80), ("tcp", ANY4, 81), ("tcp", ip_address("10.0.0.1"), 80)]
)
def test_other_places_do_not_conflict(taken: tuple[str, Address, int]) -> None:
    assert chosen(binding(80), {taken}, [LOCAL]) == [80]


def test_a_range_gives_its_first_free_port() -> None:
    assert chosen(binding(80, 82), {("tcp", ANY4, 80)}, [ANY4]) == [81]
    full = {("tcp", ANY4, number) for number in (80, 81, 82)}
    with pytest.raises(WherryError, match="80-82 failed: all ports are allocated"):
        chosen(binding(80, 82), full, [ANY4])


def test_ephemeral_ports_wrap_around_and_run_out() -> None:
    taken = {("tcp", ANY4, 32769), ("tcp", ANY4, 32770)}
    assert chosen(binding(0), taken, [ANY4]) == [32768]
    with pytest.raises(WherryError, match="all ports are allocated"):
        chosen(binding(0), taken | {("tcp", ANY4, 32768)}, [ANY4])


def test_host_addresses() -> None:
    assert host_addresses(None, ANY4, ipv6=True) == [ANY4, ANY6]
    assert host_addresses(None, ANY4, ipv6=False) == [ANY4]
    assert host_addresses(ANY4, None, ipv6=True) == [ANY4]
    assert host_addresses(None, LOCAL, ipv6=True) == [LOCAL]
    assert host_addresses(LOCAL, ANY4, ipv6=True) == [LOCAL]
