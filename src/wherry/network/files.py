"""The three files that tell a container about its network: hosts, resolv.conf, hostname.

Pure functions; resolv.conf(5) and hosts(5) are the formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from wherry.errors import InvalidParameter

HOST_GATEWAY = "host-gateway"
_LOCAL = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)
PUBLIC_RESOLVERS = ("8.8.8.8", "8.8.4.4")
_LINE_BREAKS = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Resolver:
    """The settings of a resolv.conf."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> Resolver:
    """Read a resolv.conf; the last ``search`` or ``domain`` line wins, as in the C library."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = re.split(r"[#;]", line, maxsplit=1)[0].split()
        if len(words) < 2:
            continue
        match words[0]:
            case "nameserver":
                servers.append(words[1])
            case "search" | "domain":
                search = tuple(words[1:])
            case "options":
                options += words[1:]
    return Resolver(tuple(servers), search, tuple(options))


def container_resolver(
    host: Resolver,
    servers: Sequence[str],
    search: Sequence[str],
    options: Sequence[str],
    *,
    ipv6: bool,
) -> Resolver:
    """Whom a container asks: its own settings, else those of the host that it can reach.

    The host's loopback resolvers are out of a container's reach; when nothing else is left,
    public ones stand in. ``--dns-search .`` means no search list.
    """
    if servers:
        chosen = tuple(servers)
    else:
        chosen = tuple(server for server in host.servers if _reachable(server, ipv6))
        chosen = chosen or PUBLIC_RESOLVERS
    domains = tuple(search) if search else host.search
    return Resolver(
        chosen,
        () if domains == (".",) else tuple(domain for domain in domains if domain != "."),
        tuple(options) if options else host.options,
    )


def resolv_conf(resolver: Resolver) -> str:
    """The text of a container's resolv.conf."""
    lines = [f"nameserver {server}" for server in resolver.servers]
    if resolver.search:
        lines.append("search " + " ".join(resolver.search))
    if resolver.options:
        lines.append("options " + " ".join(resolver.options))
    return "\n".join(lines) + "\n"


def hosts(
    own: Iterable[tuple[str, str]], extra: Iterable[tuple[str, str]] = (), *, ipv6: bool = True
) -> str:
    """The text of a container's hosts file.

    ``own`` holds (address, names) of the container itself, ``extra`` those of links and
    ``--add-host``. A container without IPv6 does not learn the IPv6 names.
    """
    local = [line for line in _LOCAL if ipv6 or ":" not in line[0]]
    return "".join(f"{address}\t{names}\n" for address, names in [*local, *extra, *own])


def hostname(name: str) -> str:
    """The text of a container's hostname file."""
    return name + "\n"


def own_names(host: str, domain: str) -> str:
    """How a container calls itself in its hosts file: full name first when there is a domain."""
    if domain:
        return f"{host}.{domain} {host}"
    short = host.partition(".")[0]
    return f"{host} {short}" if short != host else host


def parse_extra_host(entry: str, gateways: Sequence[str]) -> list[tuple[str, str]]:
    """An ``--add-host`` entry ``name:address`` as (address, name) pairs.

    ``gateways`` stand for ``host-gateway``. Raises InvalidParameter in Docker's words.
    """
    name, colon, address = entry.partition(":")
    if not colon or not name or _LINE_BREAKS.search(entry):
        raise InvalidParameter(f'bad format for add-host: "{entry}"')
    if address == HOST_GATEWAY:
        if not gateways:
            raise InvalidParameter(
                "unable to derive the IP value for host-gateway: the container has no network"
            )
        return [(gateway, name) for gateway in gateways]
    address = address.removeprefix("[").removesuffix("]")
    try:
        ip_address(address)
    except ValueError:
        raise InvalidParameter(f'invalid IP address in add-host: "{address}"') from None
    return [(address, name)]


def check_servers(servers: Iterable[str]) -> None:
    """Raise InvalidParameter unless every ``--dns`` value is an address."""
    for server in servers:
        try:
            ip_address(server.partition("%")[0])
        except ValueError:
            raise InvalidParameter(f"bad DNS server address: {server}") from None


def _reachable(server: str, ipv6: bool) -> bool:
    try:
        address = ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return not address.is_loopback and (address.version == 4 or ipv6)
