"""The networks of one engine: the service that the engine calls.

Order of effects: what shall be is written to the store first, then the kernel is told; what shall
no longer be leaves the store first, too. So the store is always right, and ``start``,
``take_stock`` and ``mend`` lead the kernel to it after any crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, TypeAlias

from wherry.errors import (
    Conflict,
    Forbidden,
    InvalidParameter,
    NotFound,
    Unavailable,
    WherryError,
)
from wherry.instance import Instance
from wherry.network import allocation, firewall, host, requests, views
from wherry.network.blueprint import Blueprint
from wherry.network.drivers import Drivers, bridge
from wherry.network.guard import Guard
from wherry.network.ipam import ROUTER_NAMES, Address, Pool, Subnet, default_gateway, with_gateway
from wherry.network.kernel import Kernel
from wherry.network.lookup import find_network
from wherry.network.model import PREDEFINED, Network, Plan, SandboxConfig
from wherry.network.netlink import LinkWatch
from wherry.network.nft.client import Nftables
from wherry.network.options import NetworkOptions
from wherry.network.porter.client import PorterClient
from wherry.network.records import Records
from wherry.network.sandboxes import Effects, Sandboxes
from wherry.network.texts import Texts
from wherry.network.worker import Worker
from wherry.storage.statedb import StateDB

_log = logging.getLogger(__name__)

Views: TypeAlias = list[dict[str, Any]]
Names: TypeAlias = list[str]


class Networks:
    """Networks, the endpoints of containers in them, and the firewall around them.

    One event loop uses an object; ``start`` comes first, then ``take_stock`` once, then ``mend``
    for each container that runs.
    """

    def __init__(self, db: StateDB, instance: Instance, options: NetworkOptions) -> None:
        self._records = Records(db)
        self._instance = instance
        self._options = options
        self._drivers = Drivers()
        self._worker = Worker("network")
        self._firewall_worker = Worker("firewall")
        self._kernel = Kernel(instance)
        self._nft = Nftables()
        self._guard = Guard(instance.nft_table, frozenset(options.firewall_versions), self._nft)
        self._porter = PorterClient(options.runtime_directory, self._nft)
        self._links = LinkWatch()
        self._repair: asyncio.Task[None] | None = None
        self._reconciled = False
        texts = Texts(self._records, options)
        self.host_gateways = texts.host_gateways
        self._blueprint = Blueprint(self._records, self._drivers, texts)
        effects = Effects(
            kernel=self._kernel,
            nft=self._nft,
            guard=self._guard,
            porter=self._porter,
            worker=self._worker,
            firewall_worker=self._firewall_worker,
        )
        self.sandboxes = Sandboxes(
            self._records, options, self._drivers, self._blueprint, texts, effects
        )

    # Life

    async def start(self) -> None:
        """Make the predefined networks, bridges and firewall; repair what is missing.

        Raises KernelError and Conflict when the default bridge cannot be made. A user-defined
        network that cannot be made is logged and left for later.
        """
        self._nft.start()
        await self._make_predefined()
        ipv6 = any(network.ipv6 for network in self._records.networks())
        if self._options.ip_forward:
            await self._worker.run(lambda: host.enable_forwarding(self._kernel, ipv6=ipv6))
        await self.repair()
        await self._load_firewall()
        self._guard.watch(self._firewall_worker.run)
        self._porter.watch(self._worker.run)
        asyncio.get_running_loop().add_reader(self._links.fileno(), self._link_deleted)

    def _link_deleted(self) -> None:
        names = self._links.deleted()
        if names is not None and not names:
            return  # made or changed: nothing to repair
        bridges = {
            self._drivers.of(network).interface(network) for network in self._records.networks()
        }
        if (names is None or names & bridges) and (self._repair is None or self._repair.done()):
            self._repair = asyncio.get_running_loop().create_task(self._restore())

    async def _restore(self) -> None:
        try:
            await self.repair()
            await self.sandboxes.repair()
            _log.warning("an interface of a network was deleted by others: made again")
        except WherryError as error:
            _log.error("an interface of a network was deleted by others: %s", error)

    async def repair(self) -> None:
        """Make again what is missing of the networks themselves."""
        for network in self._records.networks():
            try:
                await self._ensure(network)
            except WherryError as error:
                if network.is_default:
                    raise
                _log.error("network %s: %s", network.name, error)

    async def close(self) -> None:
        """Stop listening and close the sockets.

        Running containers keep their networks, ports and names. When none runs, nothing stays
        in the kernel: the next start makes bridges and firewall again.
        """
        await self._guard.unwatch()
        asyncio.get_running_loop().remove_reader(self._links.fileno())
        self._links.close()
        if self._repair is not None:
            await self._repair
        await self.sandboxes.close()
        if self._reconciled and not self.sandboxes.live:
            await self._take_down()
        await self._worker.run(self._porter.close)
        self._worker.close()
        self._firewall_worker.close()
        self._nft.close()
        self._kernel.close()

    async def _take_down(self) -> None:
        """Take every bridge and the firewall out of the kernel."""
        for network in self._records.networks():
            driver = self._drivers.of(network)
            await self._worker.run(partial(driver.destroy, network, self._kernel))
        await self._firewall_worker.run(self._guard.remove)

    async def take_stock(self, live: Mapping[str, int], spared: Collection[str] = ()) -> None:
        """Give back what those hold that ran under an earlier engine and do not run any more.

        ``live`` are the containers that run, with the pids of their inits; ``spared`` those that
        may run: they keep addresses and ports until `mend` or `detach`. Nothing may be allocated
        before.
        """
        await self.sandboxes.take_stock(live, spared)
        await self._sweep()
        self._reconciled = True

    async def mend(self, container: str, pid: int) -> None:
        """Make again what is missing of the network of a container that runs."""
        await self.sandboxes.mend(container, pid)

    async def _sweep(self) -> None:
        networks = self._records.networks()
        interfaces = [self._drivers.of(one).interface(one) for one in networks]
        endpoints = [
            endpoint.id
            for network in networks
            for endpoint in self._records.endpoints_of_network(network.id)
        ]
        stale = await self._worker.run(lambda: self._kernel.sweep(interfaces, endpoints))
        if stale:
            _log.info("removed interfaces that an earlier daemon left: %s", ", ".join(stale))

    async def _load_firewall(self) -> None:
        fences = {
            network.id: fence
            for network in self._records.networks()
            if (fence := self._drivers.of(network).fence(network)) is not None
        }
        openings = self._blueprint.all_openings()
        await self._firewall_worker.run(lambda: self._guard.load(fences, openings))

    async def _make_predefined(self) -> None:
        for name, driver in (("none", "null"), ("host", "host")):
            if self._records.network_named(name) is None:
                self._records.save_network(_new_network(name, driver, ipv4=True))
        if self._options.bridge == "none":
            return
        present = self._records.network_named("bridge")
        wanted = self._default_bridge(present)
        interface = wanted.options[bridge.NAME]
        routes = await self._worker.run(lambda: self._kernel.route.route_networks(interface))
        with self._records.db.transaction():
            wanted = allocation.choose_pools(
                self._records, wanted, self._options.default_address_pools, routes
            )
            self._records.save_network(wanted)
            allocation.reserve(self._records, wanted)

    def _default_bridge(self, present: Network | None) -> Network:
        """The default network as the options want it, with the subnet it has had."""
        options = self._options
        network = present or _new_network("bridge", "bridge", ipv4=True)
        pools: tuple[Pool, ...] = tuple(
            pool for pool in network.pools if pool.subnet.version == 4 or options.ipv6
        )
        for version, text, fixed, router in (
            (4, options.bip, options.fixed_cidr, options.default_gateway),
            (6, options.bip6, options.fixed_cidr_v6, options.default_gateway_v6),
        ):
            if text or (version == 6 and fixed):
                rest = tuple(pool for pool in pools if pool.subnet.version != version)
                pools = (*rest, _chosen_pool(text, fixed, router))
        labels = {
            "com.docker.network.bridge.default_bridge": "true",
            bridge.ICC: str(options.icc).lower(),
            bridge.MASQUERADE: str(options.ip_masq).lower(),
            bridge.HOST_BINDING: options.ip,
            bridge.NAME: options.bridge or self._instance.default_bridge,
            bridge.MTU: str(options.mtu),
        }
        return replace(network, options=labels, pools=pools, ipv6=options.ipv6)

    async def _ensure(self, network: Network) -> None:
        driver = self._drivers.of(network)
        if not network.config_only:
            await self._worker.run(lambda: driver.ensure(network, self._kernel))

    # Networks

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """``POST /networks/create``: {"Id", "Warning"}."""
        request = requests.network_request(body)
        if request.name in (*PREDEFINED, "default"):
            raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
        if body.get("Scope") == "swarm":
            raise Forbidden("cannot create a swarm scoped network when swarm is not active")
        if request.ingress:
            raise Forbidden("ingress network can only be global scope network")
        if request.driver == "overlay":
            raise Unavailable(
                "This node is not a swarm manager. Wherry runs networks on one host: use the"
                " drivers bridge, macvlan or ipvlan."
            )
        driver = self._drivers.get(request.driver)
        network = self._configured(request)
        if network.config_only:
            driver = self._drivers.of(network)
        else:
            network = driver.check(network)
        addressed = driver.has_addresses and not network.config_only and network.has_ipam
        routes: Sequence[Subnet] = ()
        if addressed:
            own = driver.interface(network)
            routes = await self._worker.run(lambda: self._kernel.route.route_networks(own))
        with self._records.db.transaction():
            if self._records.network_named(network.name) is not None:
                raise Conflict(f"network with name {network.name} already exists")
            self._check_interface(network)
            if addressed:
                network = allocation.choose_pools(
                    self._records,
                    network,
                    self._options.default_address_pools,
                    routes,
                )
            self._records.save_network(network)
            if not network.config_only:
                allocation.reserve(self._records, network)
        try:
            if network.ipv6 and self._options.ip_forward:
                await self._worker.run(lambda: host.enable_forwarding(self._kernel, ipv6=True))
            await self._ensure(network)
            await self._fence(network.id, driver.fence(network))
        except BaseException:
            self._records.delete_network(network.id)
            await self._worker.run(lambda: driver.destroy(network, self._kernel))
            raise
        self._event("create", network)
        return {"Id": network.id, "Warning": ""}

    def _configured(self, request: requests.NetworkRequest) -> Network:
        """The network that a request describes, with the options of its template."""
        options = dict((self._options.default_network_options or {}).get(request.driver, {}))
        network = Network(
            id=allocation.new_id(),
            name=request.name,
            driver=request.driver,
            created=_now(),
            pools=request.pools,
            ipv4=request.ipv4,
            ipv6=request.ipv6,
            internal=request.internal,
            attachable=request.attachable,
            ingress=request.ingress,
            config_only=request.config_only,
            config_from=request.config_from,
            ipam_driver=request.ipam_driver,
            ipam_options=request.ipam_options,
            options={**options, **request.options},
            labels=request.labels,
        )
        if request.config_only:
            return _template(network, request)
        if not request.config_from:
            return network
        template = find_network(self._records, request.config_from, None)
        if template is None or not template.config_only:
            raise NotFound(f'configuration network "{request.config_from}" does not exist')
        if request.pools or request.options or request.ipam_options or request.ipv6:
            raise Forbidden(
                "user specified configurations are not supported if the network depends on a"
                " configuration network"
            )
        return replace(
            network,
            pools=tuple(with_gateway(pool) for pool in template.pools),
            ipv4=template.ipv4,
            ipv6=template.ipv6,
            internal=template.internal,
            ipam_driver=template.ipam_driver,
            ipam_options=template.ipam_options,
            options=template.options,
            labels={**template.labels, **request.labels},
        )

    def _check_interface(self, network: Network) -> None:
        """Two networks must not share a bridge."""
        driver = self._drivers.of(network)
        if network.config_only or not driver.owns_gateway:
            return
        name = driver.interface(network)
        for other in self._records.networks():
            other_driver = self._drivers.of(other)
            if other_driver.owns_gateway and other_driver.interface(other) == name:
                raise Forbidden(
                    f"cannot create network {network.id} ({name}): conflicts with network"
                    f" {other.id} ({name}): networks have same bridge name"
                )

    async def remove(self, reference: str) -> None:
        """``DELETE /networks/{id}``."""
        network = find_network(self._records, reference)
        if not network.is_user_defined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        with self._records.db.transaction():
            active = self._records.endpoints_of_network(network.id)
            if active:
                raise Forbidden(
                    f"error while removing network: network {network.name} has active endpoints"
                    f" ({self._describe(active)})"
                )
            if network.config_only and any(
                other.config_from == network.name for other in self._records.networks()
            ):
                raise Forbidden(
                    "error while removing network: configuration network"
                    f' "{network.name}" is in use'
                )
            self._records.delete_network(network.id)
        driver = self._drivers.of(network)

        await self._worker.run(lambda: driver.destroy(network, self._kernel))
        await self._fence(network.id, None)
        self._event("destroy", network)

    async def _fence(self, network: str, fence: firewall.Fence | None) -> None:
        await self._firewall_worker.run(lambda: self._guard.set_network(network, fence))

    def _describe(self, endpoints: Sequence[Any]) -> str:
        parts = []
        for endpoint in endpoints:
            config = self._records.sandbox(endpoint.container)
            name = config.name if config else endpoint.container[:12]
            parts.append(f'name:"{name}" id:"{endpoint.id[:12]}"')
        return ", ".join(parts)

    def list(self) -> Views:
        """``GET /networks`` without filters; filters are the caller's."""
        return [views.network_view(network) for network in self._records.networks()]

    def inspect(self, reference: str) -> dict[str, Any]:
        """``GET /networks/{id}``."""
        network = find_network(self._records, reference)
        endpoints = self._records.endpoints_of_network(network.id)
        configs = self._records.sandboxes_of([endpoint.container for endpoint in endpoints])
        names = {config.container: config.name for config in configs}
        return views.network_inspect(network, endpoints, names)

    def unused(self) -> Views:
        """Views of user-defined networks without containers, running or not."""
        wanted = {one.network for config in self._records.sandboxes() for one in config.endpoints}
        found = (find_network(self._records, reference, None) for reference in wanted)
        used = {network.id for network in found if network is not None}
        return [
            views.network_view(network)
            for network in self._records.networks()
            if network.is_user_defined
            and not network.config_only
            and network.id not in used
            and not self._records.endpoints_of_network(network.id)
        ]

    async def prune(self, chosen: Sequence[str] | None = None) -> Names:
        """Remove unused user-defined networks and return their names.

        ``chosen`` limits this to networks with these ids (the caller's filters).
        """
        removed = []
        for view in self.unused():
            if chosen is None or view["Id"] in chosen:
                await self.remove(view["Id"])
                removed.append(view["Name"])
        return removed

    def rules(self) -> Views:
        """The firewall rules of this engine with their meaning, for ``wherry network rules``."""
        owners = {}
        for network in self._records.networks():
            owners[self._drivers.of(network).interface(network)] = f"network {network.name}"
            for endpoint in self._records.endpoints_of_network(network.id):
                config = self._records.sandbox(endpoint.container)
                for version in (4, 6):
                    if endpoint.address(version) is not None and config is not None:
                        owners[str(endpoint.address(version))] = f"container {config.name}"
        table = firewall.explain(self._instance.nft_table, self._guard.state, owners)
        return [{"Where": one.where, "Rule": one.text, "Meaning": one.meaning} for one in table]

    def drivers(self) -> Names:
        """Names of the network drivers, for ``info``."""
        return self._drivers.names()

    def _event(self, action: str, network: Network) -> None:
        self._options.on_event(action, network.id, {"name": network.name, "type": network.driver})

    # Containers: see Sandboxes

    def configure(self, config: SandboxConfig) -> None:
        """Keep what a new container asks for."""
        self.sandboxes.configure(config)

    def rename(self, container: str, name: str) -> None:
        """Follow a container's new name."""
        self.sandboxes.rename(container, name)

    def unlink(self, container: str, alias: str) -> None:
        """Take the link ``alias`` away from a container."""
        self.sandboxes.unlink(container, alias)

    def forget(self, container: str) -> None:
        """Forget a removed container."""
        self.sandboxes.forget(container)

    def allocate(self, container: str) -> Plan:
        """Give addresses and ports for a start."""
        return self.sandboxes.allocate(container)

    def write_files(self, plan: Plan) -> None:
        """Write hosts, resolv.conf and hostname into the container's folder."""
        self.sandboxes.write_files(plan)

    async def attach(self, plan: Plan, pid: int) -> None:
        """Wire the container whose init is ``pid``."""
        await self.sandboxes.attach(plan, pid)

    async def detach(self, container: str) -> None:
        """Release what an ended container had."""
        await self.sandboxes.detach(container)

    async def connect(
        self, reference: str, container: str, endpoint: Mapping[str, Any] | None = None
    ) -> None:
        """``POST /networks/{id}/connect``; ``container`` is a full id."""
        await self.sandboxes.connect(reference, container, endpoint)

    async def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        """``POST /networks/{id}/disconnect``; ``container`` is a full id."""
        await self.sandboxes.disconnect(reference, container, force=force)

    def settings(self, container: str) -> dict[str, Any]:
        """``NetworkSettings`` of container inspect; raises NotFound."""
        found = self.sandboxes.settings((container,))
        if container not in found:
            raise NotFound(f"No such container: {container}")
        return found[container]

    def settings_of(self, containers: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The same of many containers, by container; those unknown are left out.

        The number of statements does not depend on that of the containers.
        """
        return self.sandboxes.settings(containers)


def _now() -> str:
    """The time in RFC 3339 with nanosecond places, as Docker writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _new_network(name: str, driver: str, *, ipv4: bool) -> Network:
    return Network(id=allocation.new_id(), name=name, driver=driver, created=_now(), ipv4=ipv4)


def _template(network: Network, request: requests.NetworkRequest) -> Network:
    """A network that only keeps a configuration for others: nothing is chosen yet."""
    if request.config_from:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    pools = tuple(
        pool if pool.gateway_requested else replace(pool, gateway=None) for pool in network.pools
    )
    return replace(network, driver="null", pools=pools, options=request.options)


def _chosen_pool(text: str, fixed: str, router: str) -> Pool:
    """The pool of ``--bip``, ``--fixed-cidr`` and ``--default-gateway``."""
    range_ = ip_network(fixed, strict=False) if fixed else None
    try:
        if text:
            interface = ip_interface(text)
            subnet, own = interface.network, interface.ip
        else:
            assert range_ is not None
            subnet, own = range_, default_gateway(range_)
    except ValueError:
        raise InvalidParameter(f"invalid bridge address {text!r}") from None
    auxiliary: tuple[tuple[str, Address], ...] = ()
    if router and ip_address(router) != own:
        auxiliary = ((ROUTER_NAMES[own.version], ip_address(router)),)
    return Pool(subnet, own, range_ if range_ != subnet else None, auxiliary, True, False)
