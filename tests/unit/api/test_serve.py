import os
import socket
import stat
from pathlib import Path

import pytest

from wherry.api.serve import Address, bind_unix, parse_address
from wherry.errors import Conflict, InvalidParameter


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/x.sock", Address("unix", "/run/x.sock")),
        ("unix://", Address("unix", "/run/wherry.sock")),
        ("tcp://", Address("tcp", "localhost", 2375)),
        ("tcp://:2375", Address("tcp", "", 2375)),
        ("tcp://127.0.0.1", Address("tcp", "127.0.0.1", 2375)),
        ("tcp://[::1]:1234", Address("tcp", "::1", 1234)),
        ("tcp://[::1]", Address("tcp", "::1", 2375)),
        ("127.0.0.1:4243", Address("tcp", "127.0.0.1", 4243)),
        ("fd://", Address("fd", "")),
        ("fd://docker.socket", Address("fd", "docker.socket")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


def test_tls_has_a_port_of_its_own() -> None:
    assert parse_address("tcp://0.0.0.0", tls=True).port == 2376


@pytest.mark.parametrize("text", ["npipe://x", "tcp://a:b", "tcp://a:99999", "http://x:1"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid bind address"):
        parse_address(text)


def test_the_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "s")
    with bind_unix(path, str(os.getgid())):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


def test_a_dead_daemons_socket_is_replaced_a_live_ones_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    bind_unix(path).close()
    with bind_unix(path) as live:
        live.listen()
        with pytest.raises(Conflict, match="another daemon"):
            bind_unix(path)
    assert isinstance(live, socket.socket)


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(Conflict, match="is no socket"):
        bind_unix(str(path))
    assert path.read_text() == "precious"
