"""What an engine that has just opened still has to take over from the one before it.

The engine answers at once, and takes the containers over behind. Each is awaited by itself, by
whoever asks for it, and comes before the others then. A container that is not yet taken over
keeps all it may hold: addresses, ports, volumes, the range of ids and the cgroup are recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable


class Adoption:
    """The containers that are yet to be taken over, each of them once.

    ``cleared`` is set when what nobody has any more was given back: new containers may start.
    ``over`` tells that all have had their turn; one whose shim does not answer may still come.
    """

    def __init__(self) -> None:
        self.cleared = asyncio.Event()
        self.over = False
        self._looked = asyncio.Event()
        self._awaited: dict[str, asyncio.Event] = {}
        self._queue: deque[str] = deque()
        self._begun: set[str] = set()

    def expect(self, containers: Iterable[str]) -> None:
        """Have these containers awaited until they are taken over."""
        for container in containers:
            self._awaited[container] = asyncio.Event()
            self._queue.append(container)

    def expects(self, container: str) -> bool:
        """Whether a container is yet to be taken over."""
        return container in self._awaited

    def take(self) -> str | None:
        """The container that comes next, None when all have come."""
        while self._queue:
            container = self._queue.popleft()
            if container not in self._begun:
                self._begun.add(container)
                return container
        return None

    def done(self, container: str) -> None:
        """A container has been taken over, or cannot be: nobody waits for it any more."""
        event = self._awaited.pop(container, None)
        if event is not None:
            event.set()

    async def of(self, container: str) -> None:
        """Wait for a container, which comes before those that nobody has asked for."""
        event = self._awaited.get(container)
        if event is not None:
            self._queue.appendleft(container)
            await event.wait()

    async def all(self) -> None:
        """Wait for all containers."""
        await self.cleared.wait()
        for container in list(self._awaited):
            await self.of(container)

    async def most(self, patience: float) -> None:
        """Wait until all have had their turn or for ``patience`` seconds, whichever is shorter.

        Who wants a list wants it as it is, and would rather have it as it was than not at all.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._looked.wait()

    def finish(self) -> None:
        """All have had their turn."""
        self.over = True
        self._looked.set()

    def end(self) -> None:
        """Have nobody wait any longer, when the engine closes."""
        self.cleared.set()
        self._looked.set()
        for container in list(self._awaited):
            self.done(container)
