"""``--publish`` and ``--expose``: port specifications and ranges."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROTOCOLS = frozenset(("tcp", "udp", "sctp"))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError(text)
    return int(text)


def port_range(text: str) -> tuple[int, int]:
    """``80`` or ``80-90`` as (first, last); raises ValueError."""
    if not text:
        raise ValueError("empty string specified for ports.")
    first, dash, last = text.partition("-")
    try:
        start = _port(first)
        end = _port(last) if dash else start
    except ValueError as error:
        raise ValueError(f'strconv.ParseUint: parsing "{error}": invalid syntax') from None
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end


def _split_address(text: str) -> tuple[str, str, str]:
    """``[ip:[host]:]container`` into its three parts."""
    parts = text.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def parse_publish(text: str) -> list[tuple[str, dict[str, str]]]:
    """One ``--publish`` value as (container port, binding) pairs; raises ValueError."""
    address, host, container = _split_address(text)
    container, slash, protocol = container.partition("/")
    protocol = protocol.lower() if slash and protocol else "tcp"
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    if address:
        _check_address(address)
    if not container:
        raise ValueError(f"no port specified: {text}<empty>")
    try:
        start, end = port_range(container)
    except ValueError:
        raise ValueError(f"invalid containerPort: {container}") from None
    host_start = host_end = 0
    if host:
        try:
            host_start, host_end = port_range(host)
        except ValueError:
            raise ValueError(f"invalid hostPort: {host}") from None
    if host and end - start != host_end - host_start and end != start:
        raise ValueError(
            f"invalid ranges specified for container and host Ports: {container} and {host}"
        )
    if protocol not in _PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    bindings = []
    for offset in range(end - start + 1):
        host_port = str(host_start + offset) if host else ""
        # One container port and several host ports: the daemon takes the first that is free.
        if host and start == end and host_start != host_end:
            host_port = f"{host_start}-{host_end}"
        bindings.append(
            (f"{start + offset}/{protocol}", {"HostIp": address, "HostPort": host_port})
        )
    return bindings


def _check_address(address: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"invalid IP address: {address}") from None


def short_form(text: str) -> str:
    """The long form ``target=80,published=8080,protocol=tcp,mode=ingress`` in its short form."""
    if "=" not in text:
        return text
    values = {"protocol": "tcp", "published": "", "target": ""}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals or not value:
            raise ValueError(
                f"invalid publish opts format (should be name=value but got '{field}')"
            )
        if key in values:
            values[key] = value
    if not values["target"]:
        raise ValueError("invalid publish opts format: missing target")
    host = f"{values['published']}:" if values["published"] else ""
    return f"{host}{values['target']}/{values['protocol']}"


def port_maps(
    publish: list[str], expose: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, str]]]]:
    """ExposedPorts and PortBindings of all the flags together; raises ValueError."""
    exposed: dict[str, dict[str, Any]] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for text in publish:
        for port, binding in parse_publish(short_form(text)):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    for text in expose:
        if ":" in text:
            raise ValueError(f"invalid port format for --expose: {text}")
        ports, _, protocol = text.partition("/")
        try:
            start, end = port_range(ports)
        except ValueError as error:
            raise ValueError(f"invalid range format for --expose: {text}, error: {error}") from None
        for number in range(start, end + 1):
            exposed.setdefault(f"{number}/{protocol.lower() or 'tcp'}", {})
    return exposed, bindings
