"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; raises AssertionError when it does not within SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
