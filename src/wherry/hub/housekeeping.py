"""Forgets what is only kept for a while: finished webhook calls, HTML of texts."""

from __future__ import annotations

import time

from sqlalchemy import Connection

from wherry.hub.hub import Hub
from wherry.hub.schema import deliveries, renderings

_DELIVERIES_SECONDS = 30 * 86_400
_RENDERINGS_SECONDS = 30 * 86_400


async def tidy(hub: Hub, *, now: float | None = None) -> str:
    """Removes rows that are too old to matter; says how many of what."""
    counts = await hub.db.write(forget, int(time.time() if now is None else now))
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def forget(conn: Connection, now: int) -> dict[str, int]:
    """Removes what is too old, by kind."""
    old = {
        "webhook calls": deliveries.delete().where(
            deliveries.c.created < now - _DELIVERIES_SECONDS
        ),
        # A text that is still shown is rendered anew.
        "rendered texts": renderings.delete().where(
            renderings.c.created < now - _RENDERINGS_SECONDS
        ),
    }
    return {what: conn.execute(statement).rowcount for what, statement in old.items()}
