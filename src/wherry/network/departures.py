"""Ended containers leave their networks: at once what others would notice, later what is left.

A namespace usually goes with its last process and takes its interfaces along, in the kernel's own
time and off everybody's path. One in which connections are still being closed lives on for a
minute or more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from wherry.errors import WherryError
from wherry.network.drivers import Drivers
from wherry.network.kernel import Kernel
from wherry.network.model import Endpoint, Network
from wherry.network.worker import Worker

_log = logging.getLogger(__name__)
_LINGER = 2.0  # seconds that the kernel has for what it does by itself

Left = Sequence[tuple[Network, Endpoint]]


class Departures:
    """Takes the endpoints of ended containers off their networks."""

    def __init__(self, drivers: Drivers, kernel: Kernel, worker: Worker) -> None:
        self._drivers = drivers
        self._kernel = kernel
        self._worker = worker
        self._remaining: list[tuple[Network, Endpoint]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def take_off(self, left: Left, namespace: int) -> None:
        """Make sure that nobody hears these endpoints any more: their addresses are given next.

        ``namespace`` is the number of theirs. What fails is logged and does not keep an address.
        """
        await self._worker.run(lambda: self._withdraw(left, namespace))
        self._remaining += left
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LINGER, self._clean)

    def _withdraw(self, left: Left, namespace: int) -> None:
        for network, endpoint in left:
            withdraw = self._drivers.of(network).withdraw
            _try(network, partial(withdraw, network, endpoint, namespace, self._kernel))

    def _clean(self) -> None:
        self._timer = None
        remaining, self._remaining = self._remaining, []
        self._worker.submit(lambda: self._unplug(remaining))

    def _unplug(self, left: Left) -> None:
        """Delete what is still there: its other end is in a namespace that lives on."""
        for network, endpoint in left:
            unplug = self._drivers.of(network).unplug
            _try(network, partial(unplug, network, endpoint, self._kernel))

    async def close(self) -> None:
        """Leave nothing behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        remaining, self._remaining = self._remaining, []
        if remaining:
            await self._worker.run(lambda: self._unplug(remaining))


def _try(network: Network, step: Callable[[], None]) -> None:
    try:
        step()
    except WherryError as error:
        _log.error("network %s: %s", network.name, error)
