"""The firewall of one engine, from desired state to nft(8) text.

One table, ``inet <instance>``, holds everything; rules of others are never touched. The rules
never change: what networks exist and what is published are elements of sets and maps, so a
container's start adds or removes a few elements in one transaction, at a cost that does not grow
with their number.

What the rules promise:

- a packet enters a bridge only as an answer, from the same bridge, or through a published port;
  so containers of other networks, and neighbours that route straight to a container's address,
  reach nothing that was not published to them;
- internal networks exchange nothing with the outside;
- what leaves through another interface carries the host's address (masquerade);
- a published port works from outside, from the host's own addresses, from other containers and
  from the container itself. Loopback (127.0.0.0/8, ::1) is served by ``relay``, because letting
  loopback addresses onto a bridge would open the host's own services to containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Subnet: TypeAlias = IPv4Network | IPv6Network
Protocol: TypeAlias = Literal["tcp", "udp", "sctp"]
RoutedPort: TypeAlias = tuple[Address, Protocol, int]
LinkedPort: TypeAlias = tuple[Address, Address, Protocol, int]  # from, to, and a port there
GatewayMode: TypeAlias = Literal["nat", "nat-unprotected", "routed", "isolated"]


@dataclass(frozen=True, slots=True)
class Fence:
    """What the firewall needs to know of one bridge."""

    interface: str
    masquerade: bool = True
    internal: bool = False
    icc: bool = True
    subnets: tuple[Subnet, ...] = ()
    mode4: GatewayMode = "nat"
    mode6: GatewayMode = "nat"
    source4: Address | None = None
    source6: Address | None = None
    trusted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Publication:
    """One port of the host that leads to a port of a container of the same IP version."""

    protocol: Protocol
    host_address: Address
    host_port: int
    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Openings:
    """What is open for one container: published by NAT, by its own address, and to it by links."""

    publications: frozenset[Publication] = frozenset()
    routed: frozenset[RoutedPort] = frozenset()
    linked: frozenset[LinkedPort] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.publications or self.routed or self.linked)


@dataclass(frozen=True, slots=True)
class State:
    """All that the table shall contain, for these IP ``versions``; another version passes."""

    fences: frozenset[Fence] = frozenset()
    publications: frozenset[Publication] = frozenset()
    routed: frozenset[RoutedPort] = frozenset()
    linked: frozenset[LinkedPort] = frozenset()
    versions: frozenset[int] = frozenset({4, 6})

    def changed(self, gone: Openings, come: Openings) -> State:
        """The state with some openings closed and others made."""
        return replace(
            self,
            publications=self.publications - gone.publications | come.publications,
            routed=self.routed - gone.routed | come.routed,
            linked=self.linked - gone.linked | come.linked,
        )


# Name of each set or map: (declaration, meaning for ``explain``).
_SETS: Mapping[str, tuple[str, str]] = {
    "passed": ("set", "IP versions without rules"),
    "bridges": ("set", "bridges of this engine"),
    "internal": ("set", "bridges of internal networks"),
    "within": ("set", "bridges whose containers may talk to each other"),
    "hairpin4": ("set", "subnets, as pairs, for published ports reached from the same network"),
    "hairpin6": ("set", "subnets, as pairs, for published ports reached from the same network"),
    "masquerade4": ("set", "bridges whose IPv4 traffic leaves with the host's address"),
    "masquerade6": ("set", "bridges whose IPv6 traffic leaves with the host's address"),
    "source4": ("map", "bridges whose IPv4 traffic leaves with one address of the host"),
    "source6": ("map", "bridges whose IPv6 traffic leaves with one address of the host"),
    "trusted": ("set", "interfaces whose neighbours may reach the containers of a bridge"),
    "open4": ("set", "bridges whose containers are reachable by their IPv4 address"),
    "open6": ("set", "bridges whose containers are reachable by their IPv6 address"),
    "routed4": ("set", "published ports reachable by the container's IPv4 address"),
    "routed6": ("set", "published ports reachable by the container's IPv6 address"),
    "linked4": ("set", "ports that links open between containers of a network without icc"),
    "any4": ("map", "published on every IPv4 address of the host"),
    "any6": ("map", "published on every IPv6 address of the host"),
    "at4": ("map", "published on one IPv4 address of the host"),
    "at6": ("map", "published on one IPv6 address of the host"),
}
_TYPES: Mapping[str, str] = {
    "passed": "nf_proto",
    **dict.fromkeys(("bridges", "internal", "masquerade4", "masquerade6"), "ifname"),
    **dict.fromkeys(("open4", "open6"), "ifname"),
    **dict.fromkeys(("within", "trusted"), "ifname . ifname"),
    "source4": "ifname : ipv4_addr",
    "source6": "ifname : ipv6_addr",
    "hairpin4": "ipv4_addr . ipv4_addr; flags interval",
    "hairpin6": "ipv6_addr . ipv6_addr; flags interval",
    "routed4": "ipv4_addr . inet_proto . inet_service",
    "routed6": "ipv6_addr . inet_proto . inet_service",
    "linked4": "ipv4_addr . ipv4_addr . inet_proto . inet_service",
    "any4": "inet_proto . inet_service : ipv4_addr . inet_service",
    "any6": "inet_proto . inet_service : ipv6_addr . inet_service",
    "at4": "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    "at6": "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
}

# Chains in order: (name, hook line or "", [(rule, meaning)]).
_CHAINS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "published",
        "",
        (
            ("ip daddr 127.0.0.0/8 return", "loopback is served by the relay"),
            ("ip6 daddr ::1 return", "loopback is served by the relay"),
            ("dnat ip to ip daddr . meta l4proto . th dport map @at4", "port on one address"),
            ("dnat ip to meta l4proto . th dport map @any4", "port on every address"),
            ("dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6", "port on one address"),
            ("dnat ip6 to meta l4proto . th dport map @any6", "port on every address"),
        ),
    ),
    (
        "prerouting",
        "type nat hook prerouting priority dstnat; policy accept;",
        (("fib daddr type local jump published", "packets to the host: is the port published?"),),
    ),
    (
        "output",
        "type nat hook output priority -100; policy accept;",
        (("fib daddr type local jump published", "the host to itself: is the port published?"),),
    ),
    (
        "postrouting",
        "type nat hook postrouting priority srcnat; policy accept;",
        (
            (
                "ct status dnat ip saddr . ip daddr @hairpin4 masquerade",
                "a container that uses a published port of its own network: answers come back here",
            ),
            (
                "ct status dnat ip6 saddr . ip6 daddr @hairpin6 masquerade",
                "a container that uses a published port of its own network: answers come back here",
            ),
            (
                "oifname != @bridges snat ip to iifname map @source4",
                "traffic to the outside carries the address that was chosen",
            ),
            (
                "oifname != @bridges snat ip6 to iifname map @source6",
                "traffic to the outside carries the address that was chosen",
            ),
            (
                "meta nfproto ipv4 iifname @masquerade4 oifname != @bridges masquerade",
                "traffic to the outside carries the host's address",
            ),
            (
                "meta nfproto ipv6 iifname @masquerade6 oifname != @bridges masquerade",
                "traffic to the outside carries the host's address",
            ),
        ),
    ),
    (
        "forward",
        "type filter hook forward priority filter; policy accept;",
        (
            ("iifname != @bridges oifname != @bridges accept", "not of this engine"),
            ("meta nfproto @passed accept", "an IP version without rules"),
            ("iifname . oifname @within accept", "containers of one network"),
            ("iifname @internal drop", "nothing leaves an internal network"),
            ("oifname @internal drop", "nothing enters an internal network"),
            ("ct state established,related accept", "answers, and what belongs to them"),
            ("oifname @bridges ct status dnat accept", "came through a published port"),
            ("ip saddr . ip daddr . meta l4proto . th dport @linked4 accept", "by a link"),
            ("iifname . oifname @trusted accept", "neighbours that may reach containers"),
            ("meta nfproto ipv4 oifname @open4 accept", "network without protection by NAT"),
            ("meta nfproto ipv6 oifname @open6 accept", "network without protection by NAT"),
            ("ip daddr . meta l4proto . th dport @routed4 accept", "published, routed network"),
            ("ip6 daddr . meta l4proto . th dport @routed6 accept", "published, routed network"),
            ("oifname @bridges drop", "not published: closed to everyone"),
        ),
    ),
)


def elements(state: State) -> dict[str, frozenset[str]]:
    """The elements of every set and map, as nft writes them."""
    found: dict[str, set[str]] = {name: set() for name in _SETS}
    found["passed"] |= {f"ipv{version}" for version in _missing(state)}
    for fence in state.fences:
        _add_bridge(found, fence)
        if not fence.internal:
            _add_outside(found, fence)
    for port in state.publications:
        _add_publication(found, port)
    for address, protocol, number in state.routed:
        found[f"routed{address.version}"].add(f"{address} . {protocol} . {number}")
    for client, server, protocol, number in state.linked:
        found["linked4"].add(f"{client} . {server} . {protocol} . {number}")
    return {
        name: frozenset() if name[-1] in _missing(state) else frozenset(values)
        for name, values in found.items()
    }


def _add_bridge(found: dict[str, set[str]], fence: Fence) -> None:
    """What is true of every network's bridge."""
    name = f'"{fence.interface}"'
    found["bridges"].add(name)
    for subnet in fence.subnets:
        found[f"hairpin{subnet.version}"].add(f"{subnet} . {subnet}")
    if fence.icc:
        found["within"].add(f"{name} . {name}")
    if fence.internal:
        found["internal"].add(name)


def _add_outside(found: dict[str, set[str]], fence: Fence) -> None:
    """How a network and the outside reach each other."""
    name = f'"{fence.interface}"'
    for version, mode, source in (
        (4, fence.mode4, fence.source4),
        (6, fence.mode6, fence.source6),
    ):
        if fence.masquerade and mode.startswith("nat"):
            if source is not None:
                found[f"source{version}"].add(f"{name} : {source}")
            else:
                found[f"masquerade{version}"].add(name)
        if mode == "nat-unprotected":
            found[f"open{version}"].add(name)
    found["trusted"] |= {f'"{interface}" . {name}' for interface in fence.trusted}


def _add_publication(found: dict[str, set[str]], port: Publication) -> None:
    """What leads a published port to its container in the kernel."""
    version = port.address.version
    target = f"{port.address} . {port.port}"
    key = f"{port.protocol} . {port.host_port}"
    if port.host_address.is_unspecified:
        found[f"any{version}"].add(f"{key} : {target}")
    elif not port.host_address.is_loopback:
        found[f"at{version}"].add(f"{port.host_address} . {key} : {target}")


def _missing(state: State) -> set[str]:
    return {str(version) for version in (4, 6) if version not in state.versions}


def table(name: str, state: State) -> str:
    """The whole table as one transaction that replaces whatever was there."""
    lines = [f"add table inet {name}", f"delete table inet {name}", f"table inet {name} {{"]
    for set_name, values in elements(state).items():
        lines.append(f"\t{_SETS[set_name][0]} {set_name} {{")
        lines.append(f"\t\ttype {_TYPES[set_name]}")
        if values:
            lines.append(f"\t\telements = {{ {', '.join(sorted(values))} }}")
        lines.append("\t}")
    for chain, hook, rules in _CHAINS:
        lines.append(f"\tchain {chain} {{")
        if hook:
            lines.append(f"\t\t{hook}")
        lines += [f"\t\t{rule}" for rule, _ in rules]
        lines.append("\t}")
    return "\n".join([*lines, "}", ""])


def changes(name: str, old: State, new: State) -> str:
    """A transaction that leads from ``old`` to ``new``; empty when they are the same."""
    # Only what differs is written out, so the cost does not grow with what stays.
    before = elements(_difference(old, new))
    after = elements(_difference(new, old))
    lines = []
    for set_name in _SETS:
        gone, come = before[set_name] - after[set_name], after[set_name] - before[set_name]
        if gone:
            keys = (value.partition(" : ")[0] for value in gone)
            lines.append(_elements_line("delete", name, set_name, keys))
        if come:
            lines.append(_elements_line("add", name, set_name, come))
    return "\n".join([*lines, ""]) if lines else ""


def _difference(one: State, other: State) -> State:
    return State(
        one.fences - other.fences,
        one.publications - other.publications,
        one.routed - other.routed,
        one.linked - other.linked,
        one.versions,
    )


def _elements_line(verb: str, table_name: str, set_name: str, values: Iterable[str]) -> str:
    return f"{verb} element inet {table_name} {set_name} {{ {', '.join(sorted(values))} }}"


def remove(name: str) -> str:
    """A transaction that removes the table; no error when there is none."""
    return f"add table inet {name}\ndelete table inet {name}\n"


@dataclass(frozen=True, slots=True)
class Explained:
    """A rule or a set element with its meaning, for people."""

    where: str
    text: str
    meaning: str


def explain(name: str, state: State, owners: Mapping[str, str]) -> list[Explained]:
    """Every rule and element of the table with its meaning.

    ``owners`` maps interface names and container addresses to names of networks and containers.
    """
    found = []
    for set_name, values in elements(state).items():
        meaning = _SETS[set_name][1]
        for value in sorted(values):
            words = value.replace('"', "").split()
            who = [owners[word] for word in dict.fromkeys(words) if word in owners]
            suffix = f" ({', '.join(who)})" if who else ""
            found.append(Explained(f"inet {name} @{set_name}", value, meaning + suffix))
    for chain, hook, rules in _CHAINS:
        if hook:
            found.append(Explained(f"inet {name} {chain}", hook.split(";")[0], "hook"))
        for rule, meaning in rules:
            found.append(Explained(f"inet {name} {chain}", rule, meaning))
    return found


def resolver_redirect(port_udp: int, port_tcp: int) -> str:
    """The table inside a container's namespace that leads 127.0.0.11:53 to the resolver's sockets.

    The resolver listens on ports the kernel chose, so port 53 stays free for the container.
    """
    # Deleting takes the kernel many milliseconds: a fresh namespace has nothing to delete.
    return f"""table ip wherry_dns {{
\tchain output {{
\t\ttype nat hook output priority -100; policy accept;
\t}}
}}
flush chain ip wherry_dns output
table ip wherry_dns {{
\tchain output {{
\t\tip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:{port_udp}
\t\tip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:{port_tcp}
\t}}
}}
"""
