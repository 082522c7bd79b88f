"""A daemon that dies at any effect on the kernel leaves nothing that the next one cannot put right.

A scenario runs once to count its effects; then it runs once for each of them, dying just before
and just after it. A new engine on the same store then has to take up what still runs, hold no
address or port of what does not, and be able to bring everything back to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any

from tests.netlab import Containers, Namespaces, Segment, ask, inside, reconcile

from wherry.network.networks import Networks

_PORTS = {"80/tcp": [{"HostPort": "8080"}]}


class Crash(BaseException):
    """Stands for the end of the process."""


class Effects:
    """Counts the effects of an engine and kills it at one of them."""

    def __init__(self, networks: Networks, at: int = -1, *, after: bool = False) -> None:
        self.count = 0
        self.networks = networks
        self._at = at
        self._after = after
        self._dead = False
        for worker in (networks._worker, networks._firewall_worker):
            worker.run = self._counted(worker.run)  # type: ignore[method-assign]

    def _counted(self, run: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(work: Callable[[], Any]) -> Any:
            if self._dead:
                raise Crash
            number, self.count = self.count, self.count + 1
            if number == self._at and not self._after:
                self._die()
            result = await run(work)
            if number == self._at:
                self._die()
            return result

        return counted

    def _die(self) -> None:
        """From here on neither the kernel nor the store is changed any more."""
        self._dead = True
        self.networks._records.db.close()
        raise Crash

    def bury(self) -> None:
        """Close the descriptors, as the kernel does for a dead process."""
        networks, loop = self.networks, asyncio.get_running_loop()
        watch = networks._guard._watch
        if watch is not None:
            loop.remove_reader(watch.fileno())
            watch.close()
        loop.remove_reader(networks._links.fileno())
        networks._links.close()
        networks._porter.close()
        networks._kernel.close()


async def scenario(networks: Networks, namespaces: Namespaces, live: dict[str, int]) -> None:
    """Create, start with a port, connect, disconnect, end, remove; ``live`` says what runs."""
    await networks.create({"Name": "one"})
    await networks.create({"Name": "two"})
    containers = Containers(networks, namespaces)
    identity = containers.create("web", NetworkMode="one", PortBindings=_PORTS)
    plan = networks.allocate(identity)
    pid = namespaces.make()
    live[identity] = pid
    await networks.attach(plan, pid)
    await networks.connect("two", identity)
    await networks.disconnect("one", identity)
    namespaces.end(pid)
    del live[identity]
    await networks.detach(identity)
    networks.forget(identity)
    await networks.remove("one")
    await networks.remove("two")


async def started(make_networks: Callable[..., Networks], live: dict[str, int]) -> Networks:
    networks = make_networks()
    await networks.start()
    await reconcile(networks, live)
    return networks


def kernel_state(segment: Segment) -> str:
    links = inside(segment.host, "ip", "-br", "link")
    return links + inside(segment.host, "nft", "list", "ruleset")


async def test_every_crash_is_put_right(
    make_networks: Callable[..., Networks], namespaces: Namespaces, segment: Segment
) -> None:
    networks = await started(make_networks, {})
    clean = kernel_state(segment)
    counting = Effects(networks)
    await scenario(networks, namespaces, {})
    assert counting.count >= 12
    await networks.close()

    for at in range(counting.count):
        for after in (False, True):
            live: dict[str, int] = {}
            dying = await started(make_networks, live)
            effects = Effects(dying, at, after=after)
            # (Repairs that run beside make the number of effects vary a little.)
            with contextlib.suppress(Crash, sqlite3.ProgrammingError):
                await scenario(dying, namespaces, live)
            effects.bury()
            await check_recovery(make_networks, namespaces, segment, live, clean)


async def check_recovery(
    make_networks: Callable[..., Networks],
    namespaces: Namespaces,
    segment: Segment,
    live: dict[str, int],
    clean: str,
) -> None:
    networks = await started(make_networks, live)
    for identity, pid in live.items():
        shown = inside(pid, "ip", "-o", "-4", "address")
        connected = networks.settings(identity)["Networks"]
        held = {view["IPAddress"] for view in connected.values() if view["IPAddress"]}
        there = {word.partition("/")[0] for word in shown.split() if "/" in word}
        assert held == there - {"127.0.0.1"}
        if held:
            server = namespaces.serve(pid, "tcp", "0.0.0.0", 80)
            assert ask(segment.host, "tcp", "127.0.0.1", 8080).startswith("hi")
            assert ask(segment.neighbour, "tcp", "192.0.2.2", 8080).startswith("hi")
            namespaces.end(server)
    if not live:
        assert "8080" not in inside(segment.host, "nft", "list", "ruleset")
    for identity, pid in list(live.items()):
        namespaces.end(pid)
        await networks.detach(identity)
    for config in networks._records.sandboxes():
        networks.forget(config.container)
    await networks.prune()
    assert [view["Name"] for view in networks.list()] == ["none", "host", "bridge"]
    for view in networks.list():
        taken = networks._records.addresses(view["Id"])
        assert len(taken) == (1 if view["Name"] == "bridge" else 0)
    assert networks._records.ports() == []
    # The kernel reaps interfaces of ended namespaces in its own time.
    for _ in range(200):
        if kernel_state(segment) == clean:
            break
        await asyncio.sleep(0.05)
    assert kernel_state(segment) == clean
    await networks.close()
