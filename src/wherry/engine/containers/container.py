"""A container in memory: its record and state, its shim, and who waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from wherry.engine.containers.healthstate import Health
from wherry.engine.containers.record import Record
from wherry.engine.containers.state import State
from wherry.engine.spec.runtimespec import SpecInput
from wherry.runtime.client import AttachRequest, Shim


@dataclass(eq=False)
class Container:
    """Everything the engine holds of one container.

    ``lock`` is held by whoever changes it in several steps. ``pending`` are clients that attached
    before the start. ``log_complete`` is set while nothing is being written to the log.
    ``cleanup`` is what still goes on after an end, in the background. ``claims`` counts those who
    restart it now; one that is ``leaving`` is being removed and starts no more.
    """

    record: Record
    state: State
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    shim: Shim | None = None
    watcher: asyncio.Task[None] | None = None
    restarting: asyncio.Task[None] | None = None
    cleanup: asyncio.Task[None] | None = None
    health_task: asyncio.Task[None] | None = None
    health: Health | None = None
    pending: list[AttachRequest] = field(default_factory=list)
    execs: list[str] = field(default_factory=list)
    spec: SpecInput | None = None
    log_complete: asyncio.Event = field(default_factory=asyncio.Event)
    removed: bool = False
    leaving: bool = False
    claims: int = 0
    delay: float = 0.0
    stop_waiters: list[asyncio.Future[dict[str, Any]]] = field(default_factory=list)
    remove_waiters: list[asyncio.Future[dict[str, Any]]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The container's id."""
        return self.record.id

    @property
    def claimed(self) -> bool:
        """Whether somebody has it in hand, so that nothing follows its end by itself."""
        return self.leaving or self.claims > 0

    def result(self) -> dict[str, Any]:
        """What a wait answers now."""
        return {"StatusCode": self.state.exit_code}

    def wait(self, condition: str) -> Awaitable[dict[str, Any]]:
        """Register for ``not-running``, ``next-exit`` or ``removed``."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if condition == "removed":
            if self.removed:
                future.set_result(self.result())
            else:
                self.remove_waiters.append(future)
        elif condition == "not-running" and not self.state.running:
            future.set_result(self.result())
        else:
            self.stop_waiters.append(future)
        return future

    def tell_stopped(self) -> None:
        """Answer those who wait for an end."""
        _answer(self.stop_waiters, self.result())

    def tell_removed(self, error: str = "") -> None:
        """Answer those who wait for the removal, which failed when ``error`` says why."""
        result = self.result()
        if error:
            result["Error"] = {"Message": error}
        _answer(self.remove_waiters, result)
        if not error:
            _answer(self.stop_waiters, result)

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until it does not run; False when ``seconds`` were not enough."""
        if not self.state.alive:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self.wait("next-exit")
        except TimeoutError:
            return False
        return True


def _answer(waiters: list[asyncio.Future[dict[str, Any]]], result: dict[str, Any]) -> None:
    for future in waiters:
        if not future.done():
            future.set_result(dict(result))
    waiters.clear()
