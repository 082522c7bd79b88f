"""The PORTS column: published and exposed ports, with ranges drawn together."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_Key = tuple[str, str]


def ports_column(ports: list[dict[str, Any]]) -> str:
    """``0.0.0.0:80-81->80-81/tcp, 90/udp`` for the Ports of a container's list entry."""
    groups: dict[_Key, tuple[int, int]] = {}
    result: list[str] = []
    host_mappings: list[str] = []
    order: list[_Key] = []
    for port in sorted(ports, key=_sort_key):
        private = int(port.get("PrivatePort") or 0)
        public = int(port.get("PublicPort") or 0)
        protocol = str(port.get("Type") or "tcp")
        address = str(port.get("IP") or "")
        key: _Key = ("", protocol)
        if address:
            if public != private:
                shown = f"[{address}]" if ":" in address else address
                host_mappings.append(f"{shown}:{public}->{private}/{protocol}")
                continue
            key = (address, protocol)
        if key not in groups:
            groups[key] = (private, private)
            order.append(key)
            continue
        first, last = groups[key]
        if private == last or private == last + 1:
            groups[key] = (first, private)
            continue
        result.append(_group(key, first, last))
        groups[key] = (private, private)
    result += [_group(key, *groups[key]) for key in order]
    return ", ".join(result + host_mappings)


def _sort_key(port: dict[str, Any]) -> tuple[int, str, int, str]:
    return (
        int(port.get("PrivatePort") or 0),
        str(port.get("IP") or ""),
        int(port.get("PublicPort") or 0),
        str(port.get("Type") or ""),
    )


def _group(key: _Key, first: int, last: int) -> str:
    address, protocol = key
    numbers = str(first) if first == last else f"{first}-{last}"
    if address:
        shown = f"[{address}]" if ":" in address else address
        numbers = f"{shown}:{numbers}->{numbers}"
    return f"{numbers}/{protocol}"
