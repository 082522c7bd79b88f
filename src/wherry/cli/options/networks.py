"""``--network`` and the older flags beside it: EndpointsConfig."""

from __future__ import annotations

from wherry.cli.kinds import read_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LISTS = {
    "alias": "aliases",
    "link": "links",
    "link-local-ip": "link_local_ips",
}
_SINGLES = {"name": "name", "ip": "ip", "ip6": "ip6", "mac-address": "mac"}


class Attachment:
    """What the command line says of one network."""

    __slots__ = (
        "aliases",
        "driver_options",
        "gateway_priority",
        "ip",
        "ip6",
        "link_local_ips",
        "links",
        "mac",
        "name",
    )

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.aliases: list[str] = []
        self.links: list[str] = []
        self.link_local_ips: list[str] = []
        self.driver_options: dict[str, str] = {}
        self.ip = ""
        self.ip6 = ""
        self.mac = ""
        self.gateway_priority = 0

    @property
    def plain(self) -> bool:
        """Nothing but the name is said."""
        lists = self.aliases or self.links or self.link_local_ips or self.driver_options
        return not (lists or self.ip or self.ip6 or self.mac or self.gateway_priority)

    @property
    def user_defined(self) -> bool:
        """A network that somebody created, on which names and aliases work."""
        return is_user_defined(self.name)


def is_user_defined(mode: str) -> bool:
    """``mode`` names a network, not one of the built-in modes."""
    return mode not in ("", "default", "bridge", "host", "none") and not mode.startswith(
        "container:"
    )


def parse_network(text: str) -> Attachment:
    """One ``--network`` value, ``NAME`` or ``name=…,alias=…``; raises ValueError."""
    if "=" not in text:
        return Attachment(text)
    attachment = Attachment()
    for field in read_csv(text):
        name, equals, value = field.lower().partition("=")
        if not equals:
            raise ValueError(f"invalid field {name}")
        key, value = name.strip(), value.strip()
        if key in _LISTS:
            getattr(attachment, _LISTS[key]).append(value)
        elif key in _SINGLES:
            setattr(attachment, _SINGLES[key], value)
        elif key == "driver-opt":
            option, equals, content = value.partition("=")
            if not equals:
                raise ValueError(f'invalid key value pair format in driver options: "{value}"')
            attachment.driver_options[option.strip()] = content.strip()
        elif key == "gw-priority":
            from wherry.golang import parse_int

            try:
                attachment.gateway_priority = parse_int(value, base=10)
            except ValueError as error:
                words = str(error).rpartition(": ")[2]
                raise ValueError(f"invalid gw-priority ({value}): {words}") from None
        else:
            raise ValueError(f"invalid field key {key}")
    if not attachment.name:
        raise ValueError("network name/id is not specified")
    return attachment


def endpoint(attachment: Attachment) -> dict[str, Any]:
    """The API's EndpointSettings of an attachment."""
    ipam: dict[str, Any] | None = None
    if attachment.ip or attachment.ip6 or attachment.link_local_ips:
        ipam = {}
        if attachment.ip:
            ipam["IPv4Address"] = attachment.ip
        if attachment.ip6:
            ipam["IPv6Address"] = attachment.ip6
        if attachment.link_local_ips:
            ipam["LinkLocalIPs"] = attachment.link_local_ips
    return {
        "IPAMConfig": ipam,
        "Links": attachment.links or None,
        "Aliases": attachment.aliases or None,
        "MacAddress": attachment.mac,
        "DriverOpts": attachment.driver_options or None,
        "GwPriority": attachment.gateway_priority,
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def endpoints(attachments: list[Attachment]) -> dict[str, Any]:
    """EndpointsConfig of all the networks of a container; raises ValueError on contradictions."""
    result: dict[str, Any] = {}
    for attachment in attachments:
        if not attachment.name.strip():
            raise ValueError("no name set for network")
        if not attachment.user_defined:
            if attachment.aliases:
                raise ValueError(
                    "network-scoped aliases are only supported for user-defined networks"
                )
            if attachment.links:
                raise ValueError("links are only supported for user-defined networks")
        if attachment.name in result:
            raise ValueError(f'network "{attachment.name}" is specified multiple times')
        result[attachment.name] = endpoint(attachment)
    kinds = {attachment.user_defined for attachment in attachments}
    if len(kinds) > 1:
        raise ValueError(
            "conflicting options: cannot attach both user-defined and non-user-defined "
            "network-modes"
        )
    return result
