"""A daemon started with ``&`` from a script, where SIGINT and SIGQUIT are ignored, or blocked."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)
BLOCKED = (signal.SIGTERM, signal.SIGUSR2, signal.SIGALRM)
CLEAN = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    daemon = Daemon()
    try:
        daemon.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    try:
        daemon.json("POST", "/images/load", busybox_archive().read_bytes())
        yield daemon
    finally:
        daemon.close()


def test_containers_execs_builds_and_healthchecks_have_default_signals(engine: Daemon) -> None:
    ask = ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]
    assert engine.docker("run", "--rm", "busybox", *ask).stdout == CLEAN
    check = f"{' '.join(ask[:2])} '{ask[2]}' {ask[3]}; true"
    flags = ["--health-cmd", check, "--health-interval", "100ms"]
    engine.docker("run", "-d", "--name", "checked", *flags, "busybox", "sleep", "600")
    assert engine.docker("exec", "checked", *ask).stdout == CLEAN
    while not (log := engine.json("GET", "/containers/checked/json")["State"]["Health"]["Log"]):
        time.sleep(0.02)
    assert log[0]["Output"] == CLEAN
    dockerfile = f"FROM busybox\nRUN {' '.join(ask[:2])} '{ask[2]}' {ask[3]} > /seen; true\n"
    engine.docker("build", "-q", "-t", "seen", "-", input=dockerfile.encode())
    assert engine.docker("run", "--rm", "seen", "cat", "/seen").stdout == CLEAN


def test_signals_end_a_container_and_the_daemon(engine: Daemon) -> None:
    engine.docker("run", "-d", "--name", "quitter", "--init", "busybox", "sleep", "600")
    engine.docker("kill", "--signal", "QUIT", "quitter")
    assert engine.docker("wait", "quitter").stdout == "131\n"
    assert engine.stop() == 0  # SIGTERM was blocked
    engine.start()
