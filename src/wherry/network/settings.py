"""``NetworkSettings`` of many containers at once, with as many statements as for one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from wherry.network import views
from wherry.network.lookup import find_network
from wherry.network.model import Network, SandboxConfig
from wherry.network.records import Records


def settings(
    records: Records, containers: Sequence[str], live: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """``NetworkSettings`` of container inspect by container; those unknown are left out.

    ``live`` are the containers that run, with the pids of their inits.
    """
    endpoints = records.endpoints_of(containers)
    ports = records.ports_of(containers)

    @cache
    def network(reference: str) -> Network | None:
        return find_network(records, reference, None)

    shown = {}
    for config in records.sandboxes_of(containers):
        held = {endpoint.network: endpoint for endpoint in endpoints.get(config.container, ())}
        connections = []
        for wanted in config.endpoints:
            found = network(wanted.network)
            connections.append((wanted, found, held.get(found.id) if found else None))
        identity, key = _sandbox(config, live)
        shown[config.container] = views.settings_view(
            config,
            connections,
            ports.get(config.container, ()),
            sandbox_id=identity,
            sandbox_key=key,
        )
    return shown


def _sandbox(config: SandboxConfig, live: Mapping[str, int]) -> tuple[str, str]:
    """Id and place of a container's own network namespace, "" for one that it has not.

    A joined namespace is shown by the container that it belongs to.
    """
    pid = live.get(config.container)
    if pid is None or config.mode == "container":
        return "", ""
    identity = hashlib.sha256(f"sandbox {config.container}".encode()).hexdigest()
    return identity, f"/proc/{pid}/ns/net"
