"""What a container's endpoints mean for the kernel, the firewall and the porter.

Decisions only: everything is read from the store, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wherry.errors import NotFound
from wherry.network import links, wiring
from wherry.network.drivers import Drivers
from wherry.network.drivers.bridge import ICC, MODE4, MODE6, flag, gateway_mode
from wherry.network.firewall import LinkedPort, Openings, Publication
from wherry.network.lookup import find_network
from wherry.network.model import (
    Endpoint,
    EndpointConfig,
    Network,
    PublishedPort,
    SandboxConfig,
)
from wherry.network.porter.client import Door, Named, Services, View
from wherry.network.records import Records
from wherry.network.texts import Texts
from wherry.network.wiring import Attachment


class Blueprint:
    """Derives the parts of a running container's network from its endpoints."""

    def __init__(self, records: Records, drivers: Drivers, texts: Texts) -> None:
        self._records = records
        self._drivers = drivers
        self._texts = texts

    def port_carrier(self, config: SandboxConfig, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        """The endpoint that published ports lead to: where the default route goes."""
        attachments = self.attachments(config, endpoints)
        routed = {route.interface for route in wiring.default_routes(attachments)}
        names = {
            attachment.endpoint.interface
            for attachment, _ in attachments
            if attachment.endpoint.interface in routed and attachment.driver.owns_gateway
        }
        return next((endpoint for endpoint in endpoints if endpoint.interface in names), None)

    def attachments(
        self, config: SandboxConfig, endpoints: Iterable[Endpoint]
    ) -> list[tuple[Attachment, int]]:
        """Endpoints with their networks and gateway priorities."""
        wanted = {
            network.id: endpoint_config
            for endpoint_config in config.endpoints
            if (network := find_network(self._records, endpoint_config.network, None)) is not None
        }
        found = []
        for endpoint in endpoints:
            network = self.network(endpoint)
            endpoint_config = wanted.get(network.id) or EndpointConfig(network.name)
            options = endpoint_config.driver_options or {}
            attachment = Attachment(
                self._drivers.of(network),
                network,
                endpoint,
                wiring.parse_sysctls(options.get(wiring.SYSCTLS, ""), endpoint.interface),
                wiring.link_local(endpoint_config.link_local),
            )
            found.append((attachment, endpoint_config.gateway_priority))
        return found

    def network(self, endpoint: Endpoint) -> Network:
        network = self._records.network(endpoint.network)
        if network is None:
            raise NotFound(f"network {endpoint.network} not found")
        return network

    def openings(
        self,
        config: SandboxConfig,
        endpoints: Sequence[Endpoint],
        given: Sequence[PublishedPort],
    ) -> Openings:
        """What the firewall opens for a container."""
        linked = self._linked_ports(config, endpoints)
        carrier = self.port_carrier(config, endpoints) if given else None
        if carrier is None:
            return Openings(linked=linked)
        options = self.network(carrier).options
        modes = {4: gateway_mode(options, MODE4), 6: gateway_mode(options, MODE6)}
        by_nat, by_address = set(), set()
        for port in given:
            version = port.host_address.version
            address = carrier.address(version)
            if address is None:
                continue
            if modes[version] == "routed":
                by_address.add((address, port.protocol, port.port))
            else:
                by_nat.add(
                    Publication(
                        port.protocol, port.host_address, port.host_port, address, port.port
                    )
                )
        return Openings(frozenset(by_nat), frozenset(by_address), linked)

    def _linked_ports(
        self, config: SandboxConfig, endpoints: Sequence[Endpoint]
    ) -> frozenset[LinkedPort]:
        """The exposed ports of linked containers, in networks that separate their containers."""
        own = {
            one.network: one.ipv4.ip
            for one in endpoints
            if config.links and one.ipv4 and not flag(self.network(one).options, ICC, True)
        }
        if not own:
            return frozenset()
        return frozenset(
            (own[link.endpoint.network], link.endpoint.ipv4.ip, protocol, port)
            for link in links.running(self._records, config)
            if link.endpoint.ipv4 and link.endpoint.network in own
            for port, protocol in link.config.exposed
        )

    def services(
        self,
        config: SandboxConfig,
        endpoints: Sequence[Endpoint],
        given: Sequence[PublishedPort],
        pid: int,
    ) -> Services:
        """What the porter does for a container."""
        carrier = self.port_carrier(config, endpoints) if given else None
        doors = []
        for port in given if carrier else ():
            assert carrier is not None
            target = carrier.address(port.host_address.version)
            target = target or carrier.address(4) or carrier.address(6)
            doors.append(Door(port, str(target)))
        named = [
            Named(
                network.id,
                network.name,
                endpoint.dns_names,
                tuple(str(ip) for version in (4, 6) if (ip := endpoint.address(version))),
            )
            for endpoint in endpoints
            if endpoint.mac and (network := self.network(endpoint)).is_user_defined
        ]
        view = None
        if named:
            reaches_out = any(not self.network(endpoint).internal for endpoint in endpoints)
            aliases = (links.parse_link(text) for one in config.endpoints for text in one.links)
            chosen = self._texts.chosen_servers(config)
            view = View(
                tuple(one.network for one in named),
                chosen or (self._texts.host_servers() if reaches_out else ()),
                tuple((alias.lower(), name.lower()) for name, alias in aliases),
                inside=bool(chosen),
            )
        return Services(pid, tuple(doors), view, tuple(named))

    def all_openings(self) -> dict[str, Openings]:
        """What is open for all containers that hold addresses."""
        found = {}
        holders = self._records.containers_with_endpoints()
        given = self._records.ports_of(holders)
        for config in self._records.sandboxes_of(holders):
            ports = given.get(config.container, [])
            if not ports and not config.links:
                continue  # as most are: nothing is opened for them
            openings = self.openings(config, self._records.endpoints(config.container), ports)
            if openings:
                found[config.container] = openings
        return found

    def all_services(self, live: Mapping[str, int]) -> dict[str, Services]:
        """What the porter does for running containers: container id → pid of its init."""
        services = {}
        for container, pid in live.items():
            config = self._records.sandbox(container)
            if config is not None:
                services[container] = self.services(
                    config,
                    self._records.endpoints(container),
                    [port for _, port in self._records.ports(container)],
                    pid,
                )
        return services
