import asyncio
import os
import socket
from pathlib import Path

import pytest
from tests.unit.api.fake import exchange, free_port, get, serving

from wherry.api.daemon import host_check
from wherry.api.origin import HostCheck
from wherry.api.serve import Address
from wherry.errors import InvalidParameter


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1:2375", "192.0.2.7:80", "[::1]", "[::1]:2375", "[fe80::1]:1",
        "localhost", "LocalHost:2375", "localhost.:2375", "app.localhost:2375",
        os.uname().nodename, f"{os.uname().nodename}:2375",
        "engine.example", "ENGINE.example:2375", "docker:2375",
    ],
)  # fmt: skip
def test_addresses_and_names_of_the_engine_are_allowed(host: str) -> None:
    assert HostCheck(["engine.example", "docker"]).allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:2375", "docker.evil.example", "evil", "localhost.evil",
        "127.0.0.1.evil.example", "127.0.0.1@evil.example", "evil.example@127.0.0.1", "[::1",
        "[::1].evil", "127.0.0.1:2375:1", "127.0.0.1 evil", "0x7f.1", "2130706433", "[evil]", "..",
        "localhost/", "xn--lcalhost-t0a", "\u2460.0.0.1",
    ],
)  # fmt: skip
def test_other_names_are_not(host: str) -> None:
    assert not HostCheck(["docker"]).allows(host)


def test_what_is_no_name_cannot_be_allowed() -> None:
    for name in ("*", "a b", "", "http://x", "a..b", "x:1"):
        with pytest.raises(InvalidParameter, match="invalid allowed-host"):
            HostCheck([name])


def test_names_that_are_listened_at_are_allowed() -> None:
    addresses = [Address("tcp", "hub.example", 1), Address("tcp", "::1", 1), Address("unix", "/s")]
    check = host_check(["more.example"], [*addresses, Address("tcp", "", 2375)])
    assert check.allows("hub.example:1")
    assert check.allows("more.example")
    assert not check.allows("s")


async def test_requests_over_tcp_are_addressed_to_this_engine(tmp_path: Path) -> None:
    port = free_port()
    async with serving(tmp_path, Address("tcp", "127.0.0.1", port)):

        def ask(*headers: str) -> int:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
                lines = ["GET /version HTTP/1.1", *headers, "Connection: close", "", ""]
                sock.sendall("\r\n".join(lines).encode())
                return int(sock.recv(4096).split(b" ")[1])

        here = f"Host: 127.0.0.1:{port}"
        rebound = f"Host: evil.example:{port}"
        for headers, code in (
            ((here,), 200),
            ((rebound,), 403),
            (("Host:",), 403),
            (("Host: [::1",), 403),
            ((here, "Origin: http://evil.example"), 403),
            ((here, "Origin: http://[evil"), 403),
            ((here, "Origin: null"), 403),
            ((here, "Sec-Fetch-Site: cross-site"), 403),
            ((here, "Sec-Fetch-Site: same-site"), 403),
            ((rebound, "Origin: http://evil.example", "Sec-Fetch-Site: same-origin"), 403),
            ((here, f"Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-origin"), 200),
            ((here, "Sec-Fetch-Site: none"), 200),
        ):
            assert await asyncio.to_thread(ask, *headers) == code, headers


async def test_a_unix_socket_has_no_origin(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await get(server.path, "/version", "GET", "Origin: http://x.example")
        assert answer.startswith(b"HTTP/1.1 200")
        assert await exchange(server.path, b"", finish=True) == b""
