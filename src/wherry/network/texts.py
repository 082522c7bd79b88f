"""The files of a container, made from the store and the host's own files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from wherry.network import files, links, ports
from wherry.network.model import Endpoint, Plan, SandboxConfig
from wherry.network.options import NetworkOptions
from wherry.network.records import Records
from wherry.network.sockets import RESOLVER_ADDRESS


class Texts:
    """Makes and writes hosts, resolv.conf and hostname of containers."""

    def __init__(self, records: Records, options: NetworkOptions) -> None:
        self._records = records
        self._options = options

    def hosts(
        self,
        config: SandboxConfig,
        endpoints: Sequence[Endpoint],
        linked: Sequence[links.Linked],
    ) -> str:
        """The hosts file of a container with these endpoints."""
        if config.mode == "host":
            return _host_file("/etc/hosts") + "".join(
                f"{address}\t{name}\n" for address, name in self._extra_hosts(config)
            )
        names = files.own_names(config.hostname, config.domainname)
        own = [
            (str(address), names)
            for endpoint in endpoints
            for version in (4, 6)
            if (address := endpoint.address(version)) is not None
        ]
        extra = [*self._extra_hosts(config), *links.hosts(linked)]
        return files.hosts(own, extra, ipv6=ports.has_ipv6())

    def _extra_hosts(self, config: SandboxConfig) -> list[tuple[str, str]]:
        gateways = self.host_gateways()
        return [
            pair for entry in config.extra_hosts for pair in files.parse_extra_host(entry, gateways)
        ]

    def host_gateways(self) -> tuple[str, ...]:
        """The addresses that ``host-gateway`` stands for."""
        return self._options.host_gateway_ips or self._default_gateways()

    def _default_gateways(self) -> tuple[str, ...]:
        bridge = self._records.network_named("bridge")
        gateways = [bridge.gateway(version) for version in (4, 6)] if bridge else []
        return tuple(str(gateway.ip) for gateway in gateways if gateway)

    def resolv_conf(self, config: SandboxConfig, endpoints: Sequence[Endpoint]) -> str:
        """The resolv.conf of a container with these endpoints."""
        settings = self._settings(config)
        text = _host_file(self._options.resolv_conf)
        if config.mode == "host" and not any(settings):
            return text
        ipv6 = config.mode == "host" or any(endpoint.ipv6 for endpoint in endpoints)
        host = files.parse_resolv_conf(text)
        resolver = files.container_resolver(host, *settings, ipv6=ipv6)
        if self._has_name_server(endpoints):
            options = resolver.options
            if not any(option.startswith("ndots:") for option in options):
                options = (*options, "ndots:0")
            resolver = files.Resolver((RESOLVER_ADDRESS,), resolver.search, options)
        return files.resolv_conf(resolver)

    def _settings(
        self, config: SandboxConfig
    ) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        return (
            config.dns or self._options.dns,
            config.dns_search or self._options.dns_search,
            config.dns_options or self._options.dns_options,
        )

    def _has_name_server(self, endpoints: Iterable[Endpoint]) -> bool:
        """Whether the container has the engine's name server: on any user-defined network."""
        networks = (self._records.network(one.network) for one in endpoints if one.mac)
        return any(network is not None and network.is_user_defined for network in networks)

    def chosen_servers(self, config: SandboxConfig) -> tuple[str, ...]:
        """The servers of ``--dns``: addresses as the container sees them."""
        return tuple(config.dns or self._options.dns)

    def host_servers(self) -> tuple[str, ...]:
        """The host's own servers: addresses as the host sees them."""
        found = files.parse_resolv_conf(_host_file(self._options.resolv_conf)).servers
        return tuple(found) or files.PUBLIC_RESOLVERS

    def write(self, plan: Plan) -> None:
        """Write all three files into the container's folder, in place.

        They are bind-mounted into the container, so they keep their inodes.
        """
        self._write(plan.container, "hosts", plan.hosts)
        self._write(plan.container, "resolv.conf", plan.resolv_conf)
        self._write(plan.container, "hostname", plan.hostname)

    def rewrite(self, config: SandboxConfig, endpoints: Sequence[Endpoint]) -> None:
        """Tell a running container about its changed networks."""
        if os.path.exists(self._path(config.container, "hosts")):
            linked = links.resolve(self._records, config)
            self._write(config.container, "hosts", self.hosts(config, endpoints, linked))
            self._write(config.container, "resolv.conf", self.resolv_conf(config, endpoints))

    def _write(self, container: str, name: str, text: str) -> None:
        with open(self._path(container, name), "w", encoding="utf-8") as file:
            file.write(text)

    def _path(self, container: str, name: str) -> str:
        return os.path.join(self._options.containers_directory, container, name)


def _host_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
