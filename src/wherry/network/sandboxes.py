"""Containers in networks: reserve, attach, connect, disconnect, release.

A container's network life: ``configure`` when it is created (what was asked for is kept),
``allocate`` when it starts (addresses and ports are given, in the store), ``attach`` when its
network namespace exists (the kernel is told), ``detach`` when it has ended, ``forget`` when it
is removed. A crash between any two of them is repaired by ``Networks.take_stock`` and ``mend``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wherry import faults
from wherry.errors import Conflict, Forbidden, InvalidParameter, NotFound, WherryError
from wherry.network import (
    allocation,
    files,
    links,
    ports,
    requests,
    settings,
    sockets,
    wiring,
)
from wherry.network.blueprint import Blueprint
from wherry.network.departures import Departures
from wherry.network.drivers import Drivers
from wherry.network.drivers.bridge import HOST_BINDING, HOST_BINDING_NEW
from wherry.network.firewall import Openings
from wherry.network.guard import Guard
from wherry.network.kernel import Kernel
from wherry.network.lookup import find_network
from wherry.network.model import (
    Endpoint,
    EndpointConfig,
    Network,
    Plan,
    PublishedPort,
    SandboxConfig,
)
from wherry.network.netns import NamespaceGone
from wherry.network.nft.client import Nftables
from wherry.network.options import NetworkOptions
from wherry.network.porter.client import PorterClient
from wherry.network.records import Records
from wherry.network.texts import Texts
from wherry.network.wiring import Attachment
from wherry.network.worker import Batch, Worker

_log = logging.getLogger(__name__)
_IFNAME = "com.docker.network.endpoint.ifname"
_PREFIX = "com.docker.network.container_iface_prefix"


@dataclass(frozen=True, slots=True)
class Effects:
    """What changes the world, and the threads where that happens."""

    kernel: Kernel
    nft: Nftables
    guard: Guard
    porter: PorterClient
    worker: Worker
    firewall_worker: Worker


class Sandboxes:
    """The endpoints of all containers; part of ``Networks``."""

    def __init__(
        self,
        records: Records,
        options: NetworkOptions,
        drivers: Drivers,
        blueprint: Blueprint,
        texts: Texts,
        effects: Effects,
    ) -> None:
        self._records = records
        self._options = options
        self._drivers = drivers
        self._blueprint = blueprint
        self._texts = texts
        self._kernel = effects.kernel
        self._nft = effects.nft
        self._guard = effects.guard
        self._porter = effects.porter
        self._worker = effects.worker
        self._firewall_worker = effects.firewall_worker
        self._departures = Departures(drivers, effects.kernel, effects.worker)
        self._closing = Batch(effects.firewall_worker, effects.guard.close)
        self._live: dict[str, int] = {}
        self._namespaces: dict[str, int] = {}
        self._listeners: dict[str, dict[str, socket.socket]] = {}

    # What was asked for

    def configure(self, config: SandboxConfig) -> None:
        """Keep what a new container asks for; nothing is given yet."""
        self._records.save_sandbox(config)

    def rename(self, container: str, name: str) -> None:
        """Follow a container's new name, in the answers of name servers too."""
        old = self._config(container)
        config = replace(old, name=name)
        endpoints = [
            replace(one, dns_names=tuple(dict.fromkeys((name, *one.dns_names[1:]))))
            if one.dns_names
            else one
            for one in self._records.endpoints(container)
        ]
        with self._records.db.transaction():
            self._records.save_sandbox(config)
            for endpoint in endpoints:
                self._records.save_endpoint(endpoint)
        self._tell_porter(config, endpoints)

    def unlink(self, container: str, alias: str) -> None:
        """Forget a link, in the hosts file and the name server of a running container, too."""
        old = self._config(container)

        def kept(texts: Sequence[str]) -> tuple[str, ...]:
            return tuple(text for text in texts if links.parse_link(text)[1] != alias)

        wanted = tuple(replace(one, links=kept(one.links)) for one in old.endpoints)
        config = replace(old, links=kept(old.links), endpoints=wanted)
        self._records.save_sandbox(config)
        endpoints = self._records.endpoints(container)
        if container in self._live:
            self._texts.rewrite(config, endpoints)
            self._tell_porter(config, endpoints)

    def _tell_porter(self, config: SandboxConfig, endpoints: Sequence[Endpoint]) -> None:
        """Have the name server of a running container know its changed names."""
        container = config.container
        pid = self._live.get(container)
        if pid is None:
            return
        given = [port for _, port in self._records.ports(container)]
        services = self._blueprint.services(config, endpoints, given, pid)

        def work() -> None:
            # One that has just ended has no names any more.
            with contextlib.suppress(NamespaceGone), wiring.namespace_of(pid) as namespace_fd:
                self._porter.set(container, services, namespace_fd, {})

        self._worker.submit(work)

    def forget(self, container: str) -> None:
        """Forget a removed container and all it holds."""
        self._records.delete_sandbox(container)

    def _config(self, container: str) -> SandboxConfig:
        config = self._records.sandbox(container)
        if config is None:
            raise NotFound(f"No such container: {container}")
        return config

    # A start

    def allocate(self, container: str) -> Plan:
        """Give a container its addresses and ports, durably; returns what its start needs.

        Raises NotFound for a network that is gone, Conflict and Forbidden when an address cannot
        be given, WherryError when a port is taken. Nothing is given then.
        """
        config = self._config(container)
        try:
            return self._allocate(config)
        except BaseException:
            self._close_listeners(container)
            raise

    def _close_listeners(self, container: str) -> None:
        for listener in self._listeners.pop(container, {}).values():
            listener.close()

    def _allocate(self, config: SandboxConfig) -> Plan:
        # Only running containers hold addresses and ports: a power cut ends them all.
        with self._records.db.transaction(volatile=True):
            self._records.release(config.container)
            endpoints: list[Endpoint] = []
            for endpoint_config in config.endpoints:
                if endpoint_config.network == "bridge" and self._options.bridge == "none":
                    continue
                network = find_network(self._records, endpoint_config.network)
                endpoints.append(self._give(config, endpoint_config, network, endpoints))
            given: list[PublishedPort] = []
            carrier = self._blueprint.port_carrier(config, endpoints)
            if carrier is not None:
                given = self._give_ports(config, carrier)
        return self._plan(config, endpoints, given)

    def _give(
        self,
        config: SandboxConfig,
        wanted: EndpointConfig,
        network: Network,
        others: Sequence[Endpoint],
    ) -> Endpoint:
        if network.config_only:
            raise Forbidden("cannot create endpoint on configuration-only network")
        if wanted.aliases and not network.is_user_defined:
            raise InvalidParameter(
                "network-scoped aliases are only supported for user-defined networks"
            )
        driver = self._drivers.of(network)
        names: Sequence[str] = ()
        if network.is_user_defined:
            names = _dns_names(config, wanted)
        return allocation.give_endpoint(
            self._records,
            network,
            wanted,
            config.container,
            _interface_name(wanted, network, [endpoint.interface for endpoint in others]),
            names,
            has_addresses=driver.has_addresses,
        )

    def _give_ports(self, config: SandboxConfig, carrier: Endpoint) -> list[PublishedPort]:
        network = self._blueprint.network(carrier)
        listeners = self._listeners.setdefault(config.container, {})

        def reserve(places: Sequence[PublishedPort]) -> None:
            listeners.update(sockets.listen_all(places))

        binding = network.options.get(HOST_BINDING_NEW) or network.options.get(HOST_BINDING)
        return allocation.give_ports(
            self._records,
            config,
            ports.parse_address(binding or self._options.ip),
            ipv6=ports.has_ipv6(),
            endpoint=carrier,
            reserve=reserve,
        )

    def _plan(
        self, config: SandboxConfig, endpoints: Sequence[Endpoint], given: Sequence[PublishedPort]
    ) -> Plan:
        linked = links.resolve(self._records, config)
        return Plan(
            config=config,
            endpoints=tuple(endpoints),
            ports=tuple(given),
            hosts=self._texts.hosts(config, endpoints, linked),
            resolv_conf=self._texts.resolv_conf(config, endpoints),
            hostname=files.hostname(config.hostname),
            environment=links.environment(config, linked, self._options.environment_of),
        )

    def write_files(self, plan: Plan) -> None:
        """Write hosts, resolv.conf and hostname into the container's folder."""
        self._texts.write(plan)

    # The kernel

    async def attach(self, plan: Plan, pid: int) -> None:
        """Wire a new container, whose init is ``pid``; raises KernelError with all undone."""
        attachments = self._blueprint.attachments(plan.config, plan.endpoints)
        listeners = self._listeners.pop(plan.container, {})
        try:
            if plan.config.mode in ("private", "none"):
                await self._attach(plan, pid, attachments, listeners)
        finally:
            for listener in listeners.values():
                listener.close()
        self._live[plan.container] = pid
        for attachment, _ in attachments:
            self._event("connect", attachment.network, plan.container)

    async def _attach(
        self,
        plan: Plan,
        pid: int,
        attachments: Sequence[tuple[Attachment, int]],
        listeners: Mapping[str, socket.socket],
    ) -> None:
        routes = wiring.default_routes(attachments)
        openings = self._blueprint.openings(plan.config, plan.endpoints, plan.ports)
        services = self._blueprint.services(plan.config, plan.endpoints, plan.ports, pid)
        # The firewall and the name server's rules take milliseconds: begin with them.
        slow: list[asyncio.Future[None]] = []
        resolver: list[socket.socket] = []
        if openings:
            slow.append(asyncio.ensure_future(self._open(plan.container, openings)))
        if services.view is not None:
            slow.append(
                asyncio.ensure_future(asyncio.to_thread(self._open_resolver, pid, resolver))
            )

        def plug() -> None:
            with wiring.namespace_of(pid) as namespace_fd:
                new = [attachment for attachment, _ in attachments]
                self._namespaces[plan.container] = self._kernel.namespace_number(namespace_fd)
                wiring.plug(self._kernel, namespace_fd, new, routes)

        def serve() -> None:
            with wiring.namespace_of(pid) as namespace_fd:
                self._porter.set(plan.container, services, namespace_fd, listeners, resolver)

        try:
            await self._worker.run(plug)
        finally:
            results = await asyncio.gather(*slow, return_exceptions=True)
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure
        if not services.is_empty:
            await self._worker.run(serve)

    def _open_resolver(self, pid: int, into: list[socket.socket]) -> None:
        """Make the sockets of a container's name server; runs in a thread of its own."""
        with wiring.namespace_of(pid) as namespace_fd:
            into += sockets.resolver_sockets(namespace_fd, self._nft)

    async def _open(self, container: str, openings: Openings) -> None:
        await self._firewall_worker.run(lambda: self._guard.set_container(container, openings))

    async def detach(self, container: str) -> None:
        """Release what an ended container had; may be repeated.

        Its interfaces leave the networks at once; the kernel reaps them with the namespace, in
        its own time.
        """
        self._live.pop(container, None)
        endpoints = self._records.endpoints(container)
        networks = [self._blueprint.network(endpoint) for endpoint in endpoints]
        self._close_listeners(container)
        namespace = self._namespaces.pop(container, None)
        left = [pair for pair in zip(networks, endpoints, strict=True) if pair[1].mac]
        if namespace is not None and left:
            await self._departures.take_off(left, namespace)
        # The ports close before others may get them.
        if self._guard.opens(container):
            await self._closing.do(container)
        if self._porter.serves(container):
            await self._worker.run(lambda: self._porter.forget(container))
        self._records.release(container)
        for network in networks:
            self._event("disconnect", network, container)

    def _event(self, action: str, network: Network, container: str) -> None:
        attributes = {"container": container, "name": network.name, "type": network.driver}
        self._options.on_event(action, network.id, attributes)

    # Changes of a container's networks

    async def connect(self, reference: str, container: str, body: Mapping[str, Any] | None) -> None:
        """Connect a container, running or not, to one more network."""
        network = find_network(self._records, reference)
        config = self._config(container)
        self._check_change(config)
        if network.driver == "host":
            raise InvalidParameter(
                "container cannot be disconnected from host network or connected to host network"
            )
        if network.driver == "null":
            raise InvalidParameter(
                "container cannot be connected to multiple networks with one of the networks in"
                " private (none) mode"
            )
        pid = self._live.get(container)
        rest = self._others(config, network)
        if pid and len(rest) < len(config.endpoints):
            raise Forbidden(
                f"endpoint with name {config.name} already exists in network {network.name}"
            )
        wanted = requests.endpoint_config(network.name, body)
        allocation.check_addresses(network, wanted)
        changed = replace(config, mode="private", endpoints=(*rest, wanted))
        with self._records.db.transaction():
            self._records.save_sandbox(changed)
            present = self._records.endpoints(container)
            endpoint = self._give(config, wanted, network, present) if pid else None
        faults.point("connect.recorded")
        if endpoint is None or not pid:
            return
        try:
            await self._plug_more(changed, endpoint, pid)
        except NamespaceGone:
            # It has just ended: as any that does not run it is connected when it starts again.
            self._records.release(container, network.id)
            return
        except BaseException:
            with self._records.db.transaction():
                self._records.release(container, network.id)
                self._records.save_sandbox(config)
            raise
        self._event("connect", network, container)

    def _others(self, config: SandboxConfig, network: Network) -> tuple[EndpointConfig, ...]:
        """The container's attachments to other networks than this one."""
        return tuple(
            one
            for one in config.endpoints
            if find_network(self._records, one.network, None) != network
        )

    async def _plug_more(self, config: SandboxConfig, endpoint: Endpoint, pid: int) -> None:
        endpoints = self._records.endpoints(config.container)
        attachments = self._blueprint.attachments(config, endpoints)
        routes = wiring.default_routes(attachments)
        new = next(one for one, _ in attachments if one.endpoint.id == endpoint.id)
        async with self._serve(config, endpoints, pid) as serve:

            def work() -> None:
                with wiring.namespace_of(pid) as namespace_fd:
                    wiring.plug(self._kernel, namespace_fd, [new], routes)
                    serve(namespace_fd)

            await self._worker.run(work)
        self._texts.rewrite(config, endpoints)

    @contextlib.asynccontextmanager
    async def _serve(
        self, config: SandboxConfig, endpoints: Sequence[Endpoint], pid: int
    ) -> AsyncIterator[Callable[[int], None]]:
        """Publish ports at these endpoints; gives the porter's part for the worker thread.

        What the porter was not given is let go at the end.
        """
        given = [port for _, port in self._records.ports(config.container)]
        carrier = self._blueprint.port_carrier(config, endpoints)
        if carrier is not None and not given:
            given = self._give_ports(config, carrier)
        openings = self._blueprint.openings(config, endpoints, given)
        services = self._blueprint.services(config, endpoints, given, pid)
        listeners = self._listeners.pop(config.container, {})

        def work(namespace_fd: int) -> None:
            self._porter.set(config.container, services, namespace_fd, listeners)

        try:
            await self._open(config.container, openings)
            yield work
        finally:
            for listener in listeners.values():
                listener.close()

    def _check_change(self, config: SandboxConfig) -> None:
        if config.mode in ("host", "container"):
            raise InvalidParameter(
                "container sharing network namespace with another container or host cannot be"
                " connected to any other network"
            )
        if config.mode == "none" and config.endpoints:
            raise InvalidParameter(
                "container cannot be connected to multiple networks with one of the networks in"
                " private (none) mode"
            )

    async def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        """Take a container, running or not, out of a network.

        ``force`` also forgets what is left of a container that the engine no longer knows.
        """
        config = self._records.sandbox(container)
        if config is not None and container not in self._live:
            self._forget_attachment(config, reference)
            return
        network = find_network(self._records, reference)
        if config is None:
            if not force:
                raise NotFound(f"No such container: {container}")
            self._records.release(container, network.id)
            return
        if config.mode == "host":
            raise InvalidParameter(
                "container cannot be disconnected from host network or connected to host network"
            )
        rest = self._others(config, network)
        if len(rest) == len(config.endpoints):
            raise Conflict(f"container {container} is not connected to network {network.name}")
        changed = replace(config, endpoints=rest)
        endpoint = next(
            (one for one in self._records.endpoints(container) if one.network == network.id), None
        )
        pid = self._live.get(container)
        with self._records.db.transaction():
            self._records.release(container, network.id)
            self._records.save_sandbox(changed)
        if endpoint is None or pid is None:
            return
        remaining = self._records.endpoints(container)
        routes = wiring.default_routes(self._blueprint.attachments(changed, remaining))
        # With the namespace of one that has just ended the interface is gone, too.
        with contextlib.suppress(NamespaceGone):
            async with self._serve(changed, remaining, pid) as serve:

                def work() -> None:
                    with wiring.namespace_of(pid) as namespace_fd:
                        serve(namespace_fd)
                        wiring.unplug(namespace_fd, endpoint, routes)

                await self._worker.run(work)
        self._texts.rewrite(changed, remaining)
        self._event("disconnect", network, container)

    def _forget_attachment(self, config: SandboxConfig, reference: str) -> None:
        """Take a container that does not run out of a network, which may be gone itself."""
        network = find_network(self._records, reference, None)
        if network is not None:
            rest = self._others(config, network)
        else:
            rest = tuple(one for one in config.endpoints if one.network != reference)
        if len(rest) == len(config.endpoints):
            if network is None:
                raise NotFound(f"network {reference} not found")
            raise Conflict(
                f"container {config.container} is not connected to the network {network.name}"
            )
        with self._records.db.transaction():
            if network is not None:
                self._records.release(config.container, network.id)
            self._records.save_sandbox(replace(config, endpoints=rest))

    async def close(self) -> None:
        """Leave nothing of ended containers behind."""
        await self._departures.close()

    # Views

    def settings(self, containers: Sequence[str]) -> dict[str, dict[str, Any]]:
        """``NetworkSettings`` of container inspect by container; those unknown are left out."""
        return settings.settings(self._records, containers, self._live)

    # After a crash

    async def take_stock(self, live: Mapping[str, int], spared: Collection[str]) -> None:
        """Give back what containers hold that do not run any more, and lead the porter.

        ``live`` run, with these pids of their inits; ``spared`` may: they keep what they hold.
        """
        self._live = dict(live)
        ended = [
            container
            for container in self._records.containers_with_endpoints()
            if container not in live and container not in spared
        ]
        with self._records.db.transaction(volatile=True):
            for container in ended:
                self._records.release(container)
        for container in ended:
            if self._guard.opens(container):
                await self._closing.do(container)
        # The porter does what it shall for the containers that run, and nothing else.
        services = await asyncio.to_thread(self._blueprint.all_services, dict(self._live))
        await self._worker.run(lambda: self._porter.adopt(services))

    async def mend(self, container: str, pid: int) -> None:
        """Take up a running container again: what is missing of its network is made again."""
        known = self._live.get(container) == pid
        self._live[container] = pid
        config = self._records.sandbox(container)
        if config is None or config.mode != "private":
            return
        try:
            await self._repair(config, pid)
        except NamespaceGone:
            _log.debug("container %s has ended before its network was repaired", container[:12])
            return
        except WherryError as error:
            _log.error("repair the network of container %s: %s", container[:12], error)
        if not known:
            self._tell_porter(config, self._records.endpoints(container))

    async def repair(self) -> None:
        """Make again what others have deleted of the networks of containers that run.

        Others start and end meanwhile: the porter has what they need and is left alone.
        """
        for container, pid in list(self._live.items()):
            if self._live.get(container) == pid:
                await self.mend(container, pid)

    async def _repair(self, config: SandboxConfig, pid: int) -> None:
        """Make again what is missing in or for a running container."""
        ranked = self._blueprint.attachments(config, self._records.endpoints(config.container))
        routes = wiring.default_routes(ranked)
        attachments = [attachment for attachment, _ in ranked]

        def work() -> None:
            with wiring.namespace_of(pid) as namespace_fd:
                number = self._kernel.namespace_number(namespace_fd)
                self._namespaces[config.container] = number
                for one in attachments:
                    if not one.driver.is_plugged(
                        one.network, one.endpoint, self._kernel
                    ) or not wiring.has_interface(namespace_fd, one.endpoint):
                        one.driver.unplug(one.network, one.endpoint, self._kernel)
                        # Its other end may be in the namespace where a former engine lived.
                        wiring.remove_inside(namespace_fd, one.endpoint.interface)
                        one.driver.plug(one.network, one.endpoint, namespace_fd, self._kernel)
                wiring.configure(namespace_fd, attachments, routes)

        await self._worker.run(work)

    @property
    def live(self) -> Mapping[str, int]:
        """Running containers and the pids of their inits."""
        return self._live


def _dns_names(config: SandboxConfig, wanted: EndpointConfig) -> list[str]:
    names = [config.name, *wanted.aliases, config.container[:12], config.hostname]
    return [name for name in dict.fromkeys(names) if name]


def _interface_name(wanted: EndpointConfig, network: Network, taken: Sequence[str]) -> str:
    chosen = (wanted.driver_options or {}).get(_IFNAME, "")
    if chosen:
        if len(chosen) > 15 or "/" in chosen or chosen in (".", "..", "lo") or chosen in taken:
            raise InvalidParameter(f"invalid interface name {chosen!r}")
        return chosen
    prefix = network.options.get(_PREFIX) or "eth"
    number = 0
    while f"{prefix}{number}" in taken:
        number += 1
    return f"{prefix}{number}"
