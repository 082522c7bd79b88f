"""What holds the event loop for long is told of, by its processor time."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from wherry.api import loopwatch
from wherry.errors import InvalidParameter


def test_the_limit_comes_from_the_environment() -> None:
    assert loopwatch.limit({}) is None
    assert loopwatch.limit({loopwatch.VARIABLE: "20"}) == 0.02
    for bad in ("0", "-1", "x", "1.5"):
        with pytest.raises(InvalidParameter, match=f"WHERRY_LOOP_LIMIT={bad}: not a number"):
            loopwatch.limit({loopwatch.VARIABLE: bad})


async def test_work_is_told_of_and_waiting_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asyncio.Handle, "_run", vars(asyncio.Handle)["_run"])
    caplog.set_level(logging.ERROR)
    loopwatch.watch(0.05)

    async def busy() -> None:
        await asyncio.sleep(0)
        until = time.thread_time() + 0.06
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0)

    def idle() -> None:
        time.sleep(0.1)

    asyncio.get_running_loop().call_soon(idle)
    await asyncio.create_task(busy())
    told = [record.getMessage() for record in caplog.records if loopwatch.HELD in record.message]
    assert len(told) == 1
    assert "busy" in told[0]
    assert told[0].endswith(" ms")
