"""One engine for all attacks of this folder; it must be alive and well after each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon import Daemon
from tests.images import busybox_archive

_SHADOW = Path("/etc/shadow")


@pytest.fixture(scope="session")
def target() -> Iterator[Daemon]:
    """A daemon with busybox."""
    with Daemon("-D") as daemon:
        daemon.json("POST", "/images/load", busybox_archive().read_bytes())
        yield daemon


def _host() -> tuple[object, ...]:
    return (
        hashlib.sha256(_SHADOW.read_bytes()).hexdigest() if _SHADOW.exists() else "",
        Path("/proc/sys/kernel/core_pattern").read_text(),
        sorted(os.listdir("/")),
        sorted(os.listdir("/etc")),
    )


@pytest.fixture
def engine(target: Daemon) -> Iterator[Daemon]:
    """The daemon: before and after it lives, and the host is as it was."""
    before = _host()
    yield target
    assert target.request("GET", "/_ping") == (200, b"OK")
    assert target.process is not None
    assert target.process.poll() is None
    assert _host() == before
    assert "Traceback" not in target.log_text()
