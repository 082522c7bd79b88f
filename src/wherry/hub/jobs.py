"""Work beside the requests: counts written, garbage collected, webhooks delivered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from wherry.hub import collector
from wherry.hub.hub import Hub

log = logging.getLogger("wherry.hub")
_FLUSH_SECONDS = 3.0
_WEBHOOK_SECONDS = 2.0


def start(hub: Hub) -> None:
    """Starts every periodic job of a process."""
    hub.background(_every("pull counts", _FLUSH_SECONDS, hub.pulls.flush))
    hub.background(_every("collector", hub.config.collect_interval, lambda: collector.collect(hub)))


async def _every(name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Runs ``work`` again and again; a failure is logged and the next turn comes."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:
            log.exception("background job failed: %s", name)
