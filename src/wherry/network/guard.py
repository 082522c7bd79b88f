"""Keeps the kernel's firewall equal to the desired state, also when others flush it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from wherry.errors import KernelError, WherryError
from wherry.network import conntrack, firewall
from wherry.network.firewall import Fence, Openings, State
from wherry.network.nft.client import Nftables
from wherry.network.nft.watch import Watch

_log = logging.getLogger(__name__)
_SETTLE = 0.2  # seconds that a flush and what follows it may take


class Guard:
    """The desired state and its transactions; all but ``watch`` run in the firewall's thread.

    ``versions`` are the IP versions that get rules; without any there is no table.
    """

    def __init__(self, table: str, versions: frozenset[int], nft: Nftables) -> None:
        self._table = table
        self._versions = versions
        self._nft = nft
        self._applied = State(versions=versions)
        self._fences: dict[str, Fence] = {}
        self._openings: dict[str, Openings] = {}
        self._watch: Watch | None = None
        self._repair: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """What the table shall contain."""
        opened = self._openings.values()
        return State(
            frozenset(self._fences.values()),
            frozenset().union(*(one.publications for one in opened)),
            frozenset().union(*(one.routed for one in opened)),
            frozenset().union(*(one.linked for one in opened)),
            self._versions,
        )

    def set_network(self, network: str, fence: Fence | None) -> None:
        """Put a network's bridge behind the fence, or take it out."""
        if self._fences.get(network) == fence:
            return
        if fence is None:
            self._fences.pop(network, None)
        else:
            self._fences[network] = fence
        self._apply(replace(self._applied, fences=frozenset(self._fences.values())))

    def set_container(self, container: str, openings: Openings) -> None:
        """Open exactly this for a container."""
        old = self._openings.pop(container, Openings())
        if openings:
            self._openings[container] = openings
        self._apply(self._applied.changed(old, openings))

    def opens(self, container: str) -> bool:
        """Whether there is anything to close for a container."""
        return container in self._openings

    def close(self, containers: Iterable[str]) -> None:
        """Open nothing for these containers any more, in one transaction.

        The kernel takes some ten milliseconds for a deletion, for one element or many.
        """
        state = self._applied
        for container in containers:
            state = state.changed(self._openings.pop(container, Openings()), Openings())
        self._apply(state)

    def load(self, fences: dict[str, Fence], openings: dict[str, Openings]) -> None:
        """Replace the whole table with this state, in one transaction."""
        self._fences, self._openings = fences, openings
        self.restore()

    def restore(self) -> None:
        """Write the whole table anew."""
        state = self.state
        if self._versions:
            self._nft.run(firewall.table(self._table, state), "set up firewall")
        else:
            self._nft.run(firewall.remove(self._table), "remove firewall")
        self._applied = state

    def remove(self) -> None:
        """Take the table out of the kernel."""
        self._nft.run(firewall.remove(self._table), "remove firewall")
        self._applied = State(versions=self._versions)

    def _apply(self, state: State) -> None:
        text = firewall.changes(self._table, self._applied, state) if self._versions else ""
        if not text:
            self._applied = state
            return
        changed = self._applied.publications ^ state.publications
        try:
            self._nft.run(text, "change firewall")
            self._applied = state
        except KernelError:
            # Somebody changed the table underneath: say the whole again.
            self.restore()
        conntrack.forget_udp(
            {(port.address.version, port.host_port) for port in changed if port.protocol == "udp"}
        )

    def watch(self, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Restore the table whenever somebody else changes it; ``run`` runs in the worker."""
        if not self._versions:
            return
        self._watch = watch = Watch(self._table, self._nft.is_own)
        loop = asyncio.get_running_loop()

        async def repair() -> None:
            await asyncio.sleep(_SETTLE)
            try:
                await run(self.restore)
                _log.warning("firewall table %s was changed by others: restored", self._table)
            except WherryError as error:
                _log.error("firewall table %s was changed by others: %s", self._table, error)

        def heard() -> None:
            if watch.foreign_change() and (self._repair is None or self._repair.done()):
                self._repair = loop.create_task(repair())

        loop.add_reader(watch.fileno(), heard)

    async def unwatch(self) -> None:
        """Stop listening."""
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None
        if self._repair is not None:
            self._repair.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._repair
