"""Clients that leave in the midst of an answer leave nothing behind."""

from __future__ import annotations

import socket

import pytest
from tests.conformance.api.http import ask, container
from tests.daemon import Daemon

pytestmark = pytest.mark.root

STREAMS = (
    "/images/busybox/get",
    "/images/get?names=busybox",
    "/containers/{id}/export",
    "/containers/{id}/logs?stdout=1&follow=1",
    "/containers/{id}/stats",
    "/events",
)


@pytest.mark.parametrize("path", STREAMS)
def test_a_client_that_leaves_disturbs_nothing(engine: Daemon, path: str) -> None:
    with container(engine, "yes", HostConfig={"NetworkMode": "none"}) as container_id:
        for size in (0, 1, 100, 100_000) * 5:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(engine.socket)
                target = path.replace("{id}", container_id)
                client.sendall(f"GET {target} HTTP/1.1\r\nHost: e\r\n\r\n".encode())
                received = 0
                while received < size and "/events" not in path and "/stats" not in path:
                    received += len(client.recv(min(size - received, 1 << 16)))
        assert ask(engine, "GET", f"/containers/{container_id}/json").status == 200
    log = engine.log_text()
    assert "Traceback" not in log, log[-6000:]
    assert "already executing" not in log
    assert "never retrieved" not in log
