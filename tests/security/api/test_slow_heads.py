"""Connections that ask for nothing, or never finish to ask: they stop nobody.

Class: slow-header denial of service (Slowloris), CWE-400.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator

import psutil
import pytest
from tests.conformance.api.daemons import Apart
from tests.conformance.api.images import saved
from tests.daemon import Daemon

pytestmark = pytest.mark.root

DESCRIPTORS = 600  # of the daemon: far less than what comes


class Short(Apart):
    """An engine with few descriptors."""

    @property
    def program(self) -> list[str]:
        limit = f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"
        return ["prlimit", limit, *super().program]


@pytest.fixture(scope="module")
def short() -> Iterator[Daemon]:
    with Short() as daemon:
        daemon.docker("load", input=saved())
        yield daemon


def test_three_thousand_slow_heads_stop_nobody(short: Daemon) -> None:
    assert short.process is not None
    with contextlib.ExitStack() as stack:
        runs = short.docker("run", "-d", "--network=none", "busybox", "cat", "/dev/zero").stdout
        attached = stack.enter_context(socket.socket(socket.AF_UNIX))
        attached.settimeout(60)
        attached.connect(short.socket)
        attached.sendall(
            f"POST /containers/{runs.strip()}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: e\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        assert attached.recv(12) == b"HTTP/1.1 101"
        events = stack.enter_context(socket.socket(socket.AF_UNIX))
        events.settimeout(60)
        events.connect(short.socket)
        events.sendall(b"GET /events HTTP/1.1\r\nHost: e\r\n\r\n")
        assert events.recv(12) == b"HTTP/1.1 200"
        for number in range(3_000):
            if number == 1_000:  # a burst: these come all at once for the engine
                short.process.send_signal(signal.SIGSTOP)
            if number == 1_900:
                short.process.send_signal(signal.SIGCONT)
            slow = stack.enter_context(socket.socket(socket.AF_UNIX))
            slow.settimeout(60)
            slow.connect(short.socket)
            with contextlib.suppress(BrokenPipeError):  # it had to give way already
                slow.sendall(b"GET /_ping HTTP/1.1\r\nHost:")
            if number % 1_000 == 999:
                short.docker("ps")
                short.docker("run", "--rm", "busybox", "true")
        assert psutil.Process(short.process.pid).num_fds() < DESCRIPTORS * 3 // 4
        assert attached.recv(1 << 16)
        short.docker("rm", "-f", runs.strip())
        told = b""
        while b'"destroy"' not in told:  # the stream was never cut
            told += events.recv(1 << 16)
