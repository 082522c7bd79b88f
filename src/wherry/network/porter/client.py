"""The daemon's side of the porter: what it shall hold, and its start, loss and re-adoption.

All methods but ``watch`` run in the worker thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.errors import KernelError
from wherry.network import sockets, wiring
from wherry.network.model import PublishedPort
from wherry.network.nft.client import Nftables
from wherry.network.porter import packets

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """A published port and where in the container it leads."""

    port: PublishedPort
    target: str


@dataclass(frozen=True, slots=True)
class View:
    """What a container's name server knows: networks by id, servers, private names.

    ``inside`` tells that the servers are asked from the container's namespace, not the host's.
    """

    networks: tuple[str, ...]
    upstream: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """The names of a container in one network."""

    network: str
    network_name: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Services:
    """What the porter does for one container."""

    pid: int
    doors: tuple[Door, ...] = ()
    view: View | None = None
    named: tuple[Named, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.doors and self.view is None and not self.named


class PorterClient:
    """Starts the porter when there is something to hold, and again when it was lost."""

    def __init__(self, directory: str, nft: Nftables) -> None:
        self._directory = directory
        self._nft = nft
        self._path = os.path.join(directory, "porter.sock")
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None  # of the porter that is connected
        self._services: dict[str, Services] = {}
        self._follow: Callable[[int | None, int | None], object] = lambda gone, come: None

    # Connection

    def _connect(self) -> bool:
        """Connect to a porter that runs already."""
        if not self._dial():
            return False
        try:
            pid = self._report(brief=True).get("pid")  # one of an older engine does not say
            self._pidfd = os.pidfd_open(pid) if pid else None
        except OSError:  # it is just ending
            self._drop()
            return False
        return True

    def _dial(self) -> bool:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            return False
        self._connection = connection
        self._follow(None, connection.fileno())
        return True

    def _start(self) -> None:
        """Start a porter; it serves as soon as it has read what is sent from now on."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
            control.bind(self._path)
            os.chmod(self._path, 0o600)
            control.listen()
            with open(os.path.join(self._directory, "porter.log"), "ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-m", "wherry.network.porter"),
                        *(str(control.fileno()), self._path),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                    pass_fds=(control.fileno(),),
                    start_new_session=True,
                )
            self._pidfd = os.pidfd_open(self._process.pid)
            if not self._dial():
                self._end()
                raise KernelError("connect to the porter", self._path, 111)

    def _send(self, message: Mapping[str, Any], *passed: socket.socket) -> None:
        if self._connection is None and not self._connect():
            self._start()
        assert self._connection is not None
        packets.send(self._connection, message, [one.fileno() for one in passed])

    def _drop(self) -> None:
        if self._connection is not None:
            self._follow(self._connection.fileno(), None)
            self._connection.close()
            self._connection = None
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._process is not None:
            self._process.poll()

    def _end(self) -> None:
        """End a porter that does not answer any more: until then it may hold ports."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            ended = select.poll()
            ended.register(self._pidfd, select.POLLIN)
            ended.poll()
        self._drop()

    def close(self) -> None:
        """Let go of the porter: it goes on while it holds something."""
        self._drop()

    # What it holds

    def set(
        self,
        container: str,
        services: Services,
        namespace_fd: int,
        listeners: Mapping[str, socket.socket],
        resolver: Sequence[socket.socket] = (),
    ) -> None:
        """Make the porter do exactly this for a container.

        ``listeners`` (see ``sockets.listen_all``) and ``resolver`` (``sockets.resolver_sockets``)
        become the porter's; those that are missing are made here. Raises OSError and KernelError.
        """
        before = self._services.get(container)
        if services.is_empty and before is None:
            return
        self._services[container] = services
        try:
            self._tell(container, before, services, namespace_fd, listeners, resolver)
        except ConnectionError:
            _close(*listeners.values(), *resolver)  # to be made again: a place is given once
            self.restore()
        finally:
            _close(*listeners.values(), *resolver)

    def _tell(
        self,
        container: str,
        before: Services | None,
        after: Services,
        namespace_fd: int,
        listeners: Mapping[str, socket.socket],
        resolver: Sequence[socket.socket] = (),
    ) -> None:
        if before is None or before.doors != after.doors:
            self._move_doors(container, before.doors if before else (), after.doors, listeners)
        if after.view is not None and (before is None or before.view is None):
            udp, tcp = resolver or sockets.resolver_sockets(namespace_fd, self._nft)
            with udp, tcp:
                self._send({"do": "resolve", "container": container}, udp, tcp)
        self._describe(container, before, after)

    def _move_doors(
        self,
        container: str,
        before: Sequence[Door],
        after: Sequence[Door],
        listeners: Mapping[str, socket.socket],
    ) -> None:
        """Lead published ports elsewhere; a place on the host that stays is never let go."""
        if before and [door.port for door in before] == [door.port for door in after]:
            for door in after:
                self._send({"do": "retarget", **_description(container, door)})
            return
        if before:
            self._send({"do": "unpublish", "container": container})
            self._settle()  # the ports are free once the porter has answered
        for door in after:
            self._publish(container, door, listeners.get(sockets.key(door.port)))

    def _describe(self, container: str, before: Services | None, after: Services) -> None:
        if after.view is not None:
            self._send(
                {
                    "do": "view",
                    "container": container,
                    "networks": after.view.networks,
                    "upstream": after.view.upstream,
                    "inside": after.view.inside,
                    "links": dict(after.view.links),
                }
            )
        kept = {named.network for named in after.named}
        for named in before.named if before else ():
            if named.network not in kept:
                message = {"do": "unname", "network": named.network, "container": container}
                self._send(message)
        for named in after.named:
            self._send(
                {
                    "do": "name",
                    "network": named.network,
                    "network_name": named.network_name,
                    "container": container,
                    "names": named.names,
                    "addresses": named.addresses,
                }
            )

    def _publish(self, container: str, door: Door, listener: socket.socket | None) -> None:
        listener = listener or sockets.listen(door.port)
        if listener is None:
            return
        with listener:
            self._send({"do": "publish", **_description(container, door)}, listener)

    def serves(self, container: str) -> bool:
        """Whether the porter does anything for a container."""
        return container in self._services

    def forget(self, container: str) -> None:
        """Close all that belongs to a container; its ports are free afterwards."""
        services = self._services.pop(container, None)
        if services is None or self._connection is None:
            return
        # A porter that is lost meanwhile has closed everything.
        with contextlib.suppress(OSError, EOFError):
            packets.send(self._connection, {"do": "forget", "container": container})
            if services.doors:
                self._settle()

    # Loss and re-adoption

    def adopt(self, wanted: Mapping[str, Services]) -> None:
        """Take over a porter that outlived an earlier daemon and lead it to ``wanted``."""
        self._services = {
            container: services for container, services in wanted.items() if not services.is_empty
        }
        if self._connection is None and not self._connect():
            self.restore()
            return
        try:
            self._lead()
        except ConnectionError:
            self.restore()

    def _lead(self) -> None:
        """Correct what the porter holds."""
        report = self._report()
        held = {*report.get("published", {}), *report.get("resolved", ())}
        for container in held - set(self._services):
            self._send({"do": "forget", "container": container})
        for container, services in self._services.items():
            doors = report["published"].get(container, [])
            has_doors = sorted(doors) == sorted(sockets.key(door.port) for door in services.doors)
            known = Services(
                services.pid,
                services.doors if has_doors else (),
                services.view if container in report["resolved"] else None,
            )
            if doors and not has_doors:
                self._send({"do": "unpublish", "container": container})
                self._settle()
            elif doors:
                self._move_doors(container, services.doors, services.doors, {})
            self._send({"do": "unname", "network": "", "container": container})
            self._tell_again(container, known, services)

    def _report(self, *, brief: bool = False) -> dict[str, Any]:
        """What the porter holds, after all that it was told before."""
        self._send({"do": "report", "brief": brief})
        assert self._connection is not None
        try:
            return packets.receive(self._connection)[0]
        except EOFError:
            raise ConnectionResetError("the porter ended") from None

    def _settle(self) -> None:
        """Wait until the porter has done all that it was told before."""
        self._report(brief=True)

    def restore(self) -> None:
        """Start a new porter and give it everything again."""
        self._end()
        for container, services in self._services.items():
            self._tell_again(container, None, services)

    def _replace(self, lost: socket.socket) -> None:
        """Restore unless that has been done since the connection was ``lost``."""
        if self._connection is lost:
            self.restore()

    def _tell_again(self, container: str, before: Services | None, after: Services) -> None:
        try:
            with wiring.namespace_of(after.pid) as namespace_fd:
                self._tell(container, before, after, namespace_fd, {})
        except (OSError, KernelError) as error:
            _log.error("ports and names of container %s: %s", container[:12], error)

    def watch(self, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Restore the porter as soon as it is lost; ``run`` runs in the worker thread."""
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        async def restore(lost: socket.socket) -> None:
            _log.warning("the porter was lost: starting it again")
            await run(lambda: self._replace(lost))

        def readable(descriptor: int) -> None:
            connection = self._connection
            if connection is None or connection.fileno() != descriptor:
                return
            try:
                if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    return
            except BlockingIOError:
                return
            except OSError:
                pass  # it ended before it had read all that it was told
            loop.remove_reader(descriptor)
            task = loop.create_task(restore(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        def follow(gone: int | None, come: int | None) -> None:
            if gone is not None:
                loop.remove_reader(gone)
            if come is not None:
                with contextlib.suppress(OSError):  # it has been dropped already
                    loop.add_reader(come, readable, come)

        self._follow = lambda gone, come: loop.call_soon_threadsafe(follow, gone, come)
        if self._connection is not None:
            follow(None, self._connection.fileno())


def _close(*given: socket.socket) -> None:
    for one in given:
        one.close()


def _description(container: str, door: Door) -> dict[str, Any]:
    return {
        "container": container,
        "key": sockets.key(door.port),
        "protocol": door.port.protocol,
        "target": [door.target, door.port.port],
    }
