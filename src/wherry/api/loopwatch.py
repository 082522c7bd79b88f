"""A debugging aid: tells of everything that holds the event loop for long.

While one callback runs, no other request is answered. The limit is on the processor time of the
thread, not on the clock: a busy machine makes nobody guilty.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping

from wherry.errors import InvalidParameter

log = logging.getLogger(__name__)

VARIABLE = "WHERRY_LOOP_LIMIT"
"""Milliseconds of processor time after which a callback is told of; not set: nothing is watched."""
HELD = "held the event loop for"


def limit(environment: Mapping[str, str] = os.environ) -> float | None:
    """The limit in seconds that the environment sets; raises InvalidParameter."""
    text = environment.get(VARIABLE, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise InvalidParameter(f"{VARIABLE}={text}: not a number of milliseconds")
    return int(text) / 1000


def watch(seconds: float) -> None:
    """Log an error for every callback of this process's loops that takes longer."""
    run = asyncio.Handle._run

    def watched(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        spent = time.thread_time() - began
        if spent > seconds:
            log.error("%s %s %.0f ms", _described(handle), HELD, spent * 1000)

    asyncio.Handle._run = watched  # type: ignore[method-assign, assignment]


def _described(handle: asyncio.Handle) -> str:
    """What was run: of a task also where it waits now, which is after the long step."""
    callback = getattr(handle, "_callback", None)
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return repr(callback)
    frames = task.get_stack(limit=1)
    place = f" before {frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else ""
    return f"{task.get_coro()!r}{place}"
