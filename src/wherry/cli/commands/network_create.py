"""``wherry network create``"""

from __future__ import annotations

from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, IP_NETWORKS, IPS, MAP, STRING, STRINGS
from wherry.cli.options.container_flags import LABELS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def ipam_pools(
    subnets: list[str], ranges: list[str], gateways: list[str], auxiliary: dict[str, str]
) -> list[dict[str, Any]]:
    """IPAM configurations: each range, gateway and extra address goes to its subnet.

    Raises ValueError for what fits no subnet, or fits twice.
    """
    import ipaddress

    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    pools: list[dict[str, Any]] = []
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for subnet in subnets:
        try:
            network = ipaddress.ip_network(subnet, strict=False)
        except ValueError:
            raise ValueError(f"invalid subnet {subnet}") from None
        if any(network.version == n.version and network.overlaps(n) for n in networks):
            raise ValueError("multiple overlapping subnet configuration is not supported")
        networks.append(network)
        pools.append({"Subnet": subnet})

    def pool_of(text: str, what: str, key: str) -> dict[str, Any]:
        address = ipaddress.ip_address(text.partition("/")[0])
        for network, pool in zip(networks, pools, strict=True):
            if address.version == network.version and address in network:
                if pool.get(key):
                    raise ValueError(
                        f"cannot configure multiple {what}s ({text}, {pool[key]}) "
                        f"on the same subnet ({pool['Subnet']})"
                    )
                return pool
        raise ValueError(f"no matching subnet for {what} {text}")

    for text in ranges:
        pool_of(text, "range", "IPRange")["IPRange"] = text
    for text in gateways:
        pool_of(text, "gateway", "Gateway")["Gateway"] = text
    for name, text in auxiliary.items():
        pool = pool_of(text, "aux-address", "")
        pool.setdefault("AuxiliaryAddresses", {})[name] = text
    return pools


def _create(session: Session, options: Options, arguments: list[str]) -> int:
    try:
        pools = ipam_pools(
            options["subnet"], options["ip-range"], options["gateway"], options["aux-address"]
        )
    except ValueError as error:
        raise CliError(str(error)) from None
    labels = {}
    for entry in options["label"]:
        name, _, value = entry.partition("=")
        labels[name] = value
    body: dict[str, Any] = {
        "Name": arguments[0],
        "Driver": options["driver"],
        "Scope": options["scope"],
        "IPAM": {
            "Driver": options["ipam-driver"],
            "Options": options["ipam-opt"],
            "Config": pools,
        },
        "Internal": options["internal"],
        "Attachable": options["attachable"],
        "Ingress": options["ingress"],
        "ConfigOnly": options["config-only"],
        "ConfigFrom": {"Network": options["config-from"]} if options["config-from"] else None,
        "Options": options["opt"],
        "Labels": labels,
    }
    for flag, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if options.given(flag):
            body[key] = options[flag]
    answer = session.client.call("POST", "/networks/create", body=body)
    session.say(str(answer.get("Id", "")))
    return 0


CREATE = Command(
    "create [OPTIONS] NETWORK",
    _create,
    flags=(
        Flag("attachable", "", BOOL, "Enable manual container attachment"),
        Flag("aux-address", "", MAP, "Further addresses that the driver uses"),
        Flag("config-from", "", STRING, "Network to copy the configuration from"),
        Flag("config-only", "", BOOL, "Create a configuration only network"),
        Flag("driver", "d", STRING, "Driver that manages the network", default="bridge"),
        Flag("gateway", "", IPS, "Gateway of the subnet"),
        Flag("ingress", "", BOOL, "Create a routing-mesh network (Swarm only)", hidden=True),
        Flag("internal", "", BOOL, "Restrict external access to the network"),
        Flag("ip-range", "", IP_NETWORKS, "Allocate container addresses from a sub-range"),
        Flag("ipam-driver", "", STRING, "Address management driver", default="default"),
        Flag("ipam-opt", "", MAP, "Options of the address management driver"),
        Flag("ipv4", "", BOOL, "Enable or disable IPv4 address assignment", default=True),
        Flag("ipv6", "", BOOL, "Enable or disable IPv6 address assignment"),
        Flag("label", "", LABELS, "Set metadata on a network"),
        Flag("opt", "o", MAP, "Set driver options"),
        Flag("scope", "", STRING, "Scope of the network"),
        Flag("subnet", "", STRINGS, "Subnet in CIDR form"),
    ),
    arguments=exactly(1),
)
