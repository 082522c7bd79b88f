"""Legacy links (``--link db:alias``) of containers on the default bridge.

A link is a line in the hosts file and a set of environment variables, as Docker has had them
since 2013.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wherry.errors import InvalidParameter
from wherry.network.model import Endpoint, SandboxConfig
from wherry.network.records import Records

_HIDDEN = ("HOME", "HOSTNAME", "PATH")  # of the linked container itself


@dataclass(frozen=True, slots=True)
class Linked:
    """A container that another one is linked to."""

    alias: str
    config: SandboxConfig
    endpoint: Endpoint


def parse_link(text: str) -> tuple[str, str]:
    """``db``, ``db:alias`` or ``/db:/web/alias`` as (container, alias)."""
    name, _, alias = text.partition(":")
    if ":" in alias:
        raise InvalidParameter(f"bad format for links: {text}")
    name = name.lstrip("/")
    alias = alias.rpartition("/")[2] or name
    if not name:
        raise InvalidParameter(f"bad format for links: {text}")
    return name, alias


def resolve(records: Records, config: SandboxConfig) -> list[Linked]:
    """The running containers that ``config`` links to; raises InvalidParameter for others."""
    if not config.links:
        return []
    found = []
    for text in config.links:
        name, alias = parse_link(text)
        target = records.find_sandbox(name)
        if target is None:
            raise InvalidParameter(f"could not get container for {name}: No such container: {name}")
        endpoints = records.endpoints(target.container)
        if target.mode == "host":
            raise InvalidParameter(
                "conflicting options: host type networking can't be used with links. This would"
                " result in undefined behavior"
            )
        if not endpoints:
            raise InvalidParameter(
                f"Cannot link to a non running container: /{target.name} AS /{config.name}/{alias}"
            )
        found.append(Linked(alias, target, endpoints[0]))
    return found


def running(records: Records, config: SandboxConfig) -> list[Linked]:
    """Those of the links whose containers still run."""
    found = []
    for text in config.links:
        with contextlib.suppress(InvalidParameter):
            found += resolve(records, replace(config, links=(text,)))
    return found


def hosts(linked: Sequence[Linked]) -> list[tuple[str, str]]:
    """Lines of the hosts file: address, then alias, host name and container name."""
    lines = []
    for link in linked:
        names = dict.fromkeys((link.alias, link.config.hostname, link.config.name))
        for version in (4, 6):
            address = link.endpoint.address(version)
            if address is not None:
                lines.append((str(address), " ".join(names)))
    return lines


def environment(
    config: SandboxConfig,
    linked: Sequence[Linked],
    environment_of: Callable[[str], Sequence[str]],
) -> tuple[str, ...]:
    """The variables that tell a container where its links are."""
    found: list[str] = []
    for link in linked:
        prefix = link.alias.replace("-", "_").upper()
        found.append(f"{prefix}_NAME=/{config.name}/{link.alias}")
        address = link.endpoint.address(4) or link.endpoint.address(6)
        exposed = sorted(link.config.exposed)
        for position, (port, protocol) in enumerate(exposed):
            url = f"{protocol}://{address}:{port}"
            if position == 0:
                found.append(f"{prefix}_PORT={url}")
            stem = f"{prefix}_PORT_{port}_{protocol.upper()}"
            found += [
                f"{stem}={url}",
                f"{stem}_ADDR={address}",
                f"{stem}_PORT={port}",
                f"{stem}_PROTO={protocol}",
            ]
        for variable in environment_of(link.config.container):
            key, equals, _ = variable.partition("=")
            if equals and key not in _HIDDEN:
                found.append(f"{prefix}_ENV_{variable}")
    return tuple(found)
