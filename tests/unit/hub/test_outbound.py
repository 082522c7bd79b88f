"""Which addresses are public, and which URLs may be called."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.hub import outbound

PUBLIC = ("8.8.8.8", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
PRIVATE = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "255.255.255.255", "224.0.0.1", "198.18.0.1", "::", "::1", "fe80::1%eth0",
    "fec0::1", "fd00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a00:1::1", "5f00::1", "example.com", "",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert outbound.is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not outbound.is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_that_carries_another_is_judged_by_it(carried: object) -> None:
    alone = outbound.is_public(str(carried))
    packed = int(carried)  # type: ignore[call-overload]
    for prefix in ("::ffff:", "64:ff9b::"):
        assert outbound.is_public(f"{prefix}{packed >> 16:x}:{packed & 0xFFFF:x}") == alone
    assert outbound.is_public(f"2002:{packed >> 16:x}:{packed & 0xFFFF:x}::1") == alone


@pytest.mark.parametrize(
    "host",
    [
        "①②⑦.0.0.1", "127。0。0。1", "１２７.0.0.1", "127.0.0.1.", "127.1", "0x7f.1", "0177.0.0.1",
        "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b:1::a00:1]",
        "ⓛocalhost", "LOCALHOST", "localhost.", "db.internal", "printer.local.", "a.localhost",
    ],
)  # fmt: skip
def test_spellings_of_private_hosts(host: str) -> None:
    with pytest.raises(InvalidParameter):
        outbound.check_url(f"http://{host}:80/x", private=False)
    outbound.check_url(f"http://{host}:80/x", private=True)


def test_sockets_are_made_for_public_addresses_only() -> None:
    kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    outbound.public_socket((socket.AF_INET, *kind, ("8.8.8.8", 80))).close()
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", 80)),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 80, 0, 0)),
        (socket.AF_INET6, ("64:ff9b::7f00:1", 80, 0, 0)),
    ):
        with pytest.raises(OSError, match="not a public address"):
            outbound.public_socket((family, *kind, address))
