"""The runtime's fixtures, and sentinels that no container may change."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.runtime.conftest import launcher, runner, share_loop, shop

__all__ = ["launcher", "runner", "shop"]

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root; the tests of a module share an event loop and a launcher."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            share_loop(item)
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


def _state() -> tuple[object, ...]:
    binary = Path(os.path.realpath(sys.executable))
    return (
        hashlib.sha256(binary.read_bytes()).hexdigest(),
        CORE_PATTERN.read_text(),
        sorted(os.listdir("/")),
        sorted(os.listdir("/etc")),
        sorted(name for name in os.listdir("/dev") if not name.startswith("loop")),
    )


@pytest.fixture(autouse=True)
def host_unchanged() -> Iterator[None]:
    """The interpreter, core_pattern, /, /etc and /dev are as they were before."""
    before = _state()
    yield
    assert _state() == before
