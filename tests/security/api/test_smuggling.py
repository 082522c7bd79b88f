"""Requests hidden in files and bodies: nothing in a body is ever taken for protocol.

Class: HTTP request smuggling, CWE-444.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.api.http import ask, container
from tests.daemon import Daemon

pytestmark = pytest.mark.root

BAIT = b"POST / HTTP/1.1\r\nUpgrade: tcp\r\n\r\n"
UNIT = b"POST /\r\nUpgrade: tcp\r\n\r\n........"
_BODY = json.dumps({"Image": "busybox", "Cmd": ["true"]}).encode()
CREATE = (
    b"POST /containers/create?name=smuggled HTTP/1.1\r\nHost: e\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
SWALLOW = b"POST /auth HTTP/1.1\r\nHost: e\r\nContent-Length: 100000000\r\n\r\n"


def by_chunks() -> bytes:
    """Fits to how Go's clients cut: chunks of 32 KiB that are sent as 4,096 bytes and the rest."""
    block = bytearray(b"." * 32768)
    block[4090 : 4090 + len(BAIT)] = BAIT
    block[-6:] = b"\r\n0100"
    hidden = b"\r\n0\r\n\r\n" + CREATE + SWALLOW
    block[250 : 250 + len(hidden)] = hidden
    return bytes(block) * 64


def by_shift() -> bytes:
    """An upgrade request at every 32nd byte, and a request where the framing would end too late."""
    return UNIT * 40_000 + b"\r\n" * 3_000 + CREATE + SWALLOW


FILES = {"chunks": by_chunks(), "shift": by_shift()}


@pytest.fixture(params=FILES)
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a hostile file, ``notes.bin``."""
    (tmp_path / "notes.bin").write_bytes(FILES[request.param])
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_smuggled(engine: Daemon) -> Iterator[None]:
    """Whatever a test does, no container comes from a file."""
    yield
    names = [row["Names"] for row in engine.json("GET", "/containers/json?all=1")]
    if smuggled := ["/smuggled"] in names:
        ask(engine, "DELETE", "/containers/smuggled", force="1")
    assert not smuggled
    assert "Traceback" not in engine.log_text()


def digest(path: Path) -> str:
    return hashlib.sha256((path / "notes.bin").read_bytes()).hexdigest()


def test_copying_a_file_with_requests_in_it(engine: Daemon, hostile: Path) -> None:
    with container(engine, name="target") as target:
        engine.docker("cp", str(hostile / "notes.bin"), f"{target}:/tmp/")
        output = engine.docker("exec", target, "sha256sum", "/tmp/notes.bin").stdout
        assert output.split()[0] == digest(hostile)


def test_building_with_a_file_with_requests_in_it(engine: Daemon, hostile: Path) -> None:
    (hostile / "Dockerfile").write_text(
        f"FROM busybox\nCOPY notes.bin /\nRUN echo '{digest(hostile)}  /notes.bin' | sha256sum -c\n"
    )
    engine.docker("build", "-q", str(hostile))


def test_importing_and_loading_requests(engine: Daemon, hostile: Path) -> None:
    data = (hostile / "notes.bin").read_bytes()
    assert engine.docker("import", "-", input=data, check=False).returncode != 0
    assert engine.docker("load", input=data, check=False).returncode != 0


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}])
def test_bodies_in_segments_that_begin_like_upgrades(
    engine: Daemon, headers: dict[str, str]
) -> None:
    """Raw: each segment of the body begins so, and a request comes where a shift would end."""
    body = UNIT * 32 + CREATE
    lines = ["POST /xaaa HTTP/1.1", "Host: e", *(f"{k}: {v}" for k, v in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(engine.socket)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.sendall(head)
        for at in range(0, len(body), 32):
            sock.sendall(body[at : at + 32])
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 404 ")
