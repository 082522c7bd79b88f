"""Long work on the event loop, in slices between which everybody else has a turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")

SIZE = 50
"""Containers in a slice: some milliseconds of work, also where they have networks and links."""


async def slices(items: Sequence[T], size: int = SIZE) -> AsyncIterator[Sequence[T]]:
    """``items`` in order, ``size`` at a time; other tasks run before each further slice.

    What belongs to an item may have changed, or be gone, when its slice comes.
    """
    for start in range(0, len(items), size):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + size]
