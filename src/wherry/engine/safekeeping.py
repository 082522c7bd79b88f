"""The copy of the state store, kept at most a minute old, from which a damaged one is repaired."""

from __future__ import annotations

import asyncio
import logging

from wherry.storage.statedb import StateDB

_INTERVAL = 60.0
_log = logging.getLogger(__name__)


async def keep_copy(db: StateDB) -> None:
    """Copy the store now, and whenever it has changed since, until cancelled.

    Its reserve for a full disk is made again when there is room.
    """
    copied = -1
    while True:
        await asyncio.to_thread(db.renew_reserve)
        changes = db.changes
        if changes != copied:
            await asyncio.to_thread(write_copy, db)
            copied = changes
        await asyncio.sleep(_INTERVAL)


def write_copy(db: StateDB) -> None:
    """Copy the store; a disk that is full costs the copy, not the engine."""
    try:
        db.copy()
    except OSError as error:
        _log.warning("%s", error)
