"""Containers as the API shows them: inspect and the rows of ``docker ps``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wherry.engine.config.codec import encode
from wherry.engine.containers import links
from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services
from wherry.engine.spec.runtimespec import apparmor_profile
from wherry.timestamps import SECOND, rfc3339

DRIVER_NAMES = {"overlay": "overlay2"}
"""What Docker calls drivers that are the same thing."""


def inspect_view(services: Services, container: Container) -> dict[str, Any]:
    """``GET /containers/{id}/json``."""
    record = container.record
    directory = services.directory(record.id)
    state = container.state.view()
    if container.health is not None:
        state["Health"] = container.health.view()
    driver = services.layers.driver
    return {
        "Id": record.id,
        "Created": rfc3339(record.created),
        "Path": record.args[0],
        "Args": list(record.args[1:]),
        "State": state,
        "Image": record.image,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": services.log_path(record),
        "Name": f"/{record.name}",
        "RestartCount": container.state.restart_count,
        "Driver": DRIVER_NAMES.get(record.driver, record.driver),
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": apparmor_profile(record.host) if services.facts.apparmor else "",
        "ExecIDs": list(container.execs) or None,
        "HostConfig": {**encode(record.host), "Links": links.shown(services, container)},
        "GraphDriver": {
            "Data": driver.graph_data(record.id, record.layers),
            "Name": DRIVER_NAMES.get(record.driver, record.driver),
        },
        "Mounts": [point.view() for point in record.mounts if point.listed],
        "Config": encode(record.config),
        "NetworkSettings": services.networks.settings(record.id),
    }


def row_view(
    container: Container, settings: Mapping[str, Any], names: Sequence[str], image: str, now: int
) -> dict[str, Any]:
    """A row of ``GET /containers/json``, of what has been found out for many rows at once.

    ``settings`` are its ``NetworkSettings``, ``image`` is the name that is shown for its image,
    ``now`` is in nanoseconds since 1970.
    """
    record, state = container.record, container.state
    summary: dict[str, Any] = {"NetworkMode": record.host.network_mode}
    if record.host.annotations:
        summary["Annotations"] = dict(record.host.annotations)
    return {
        "Id": record.id,
        "Names": list(names),
        "Image": image,
        "ImageID": record.image,
        "Command": shown_command(record.args),
        "Created": record.created // SECOND,
        "Ports": ports_view(settings["Ports"]),
        "Labels": dict(record.config.labels or {}),
        "State": state.status,
        "Status": state.summary(now, health_status(container)),
        "HostConfig": summary,
        "NetworkSettings": {"Networks": settings["Networks"]},
        "Mounts": [point.view() for point in record.mounts if point.listed],
    }


def health_status(container: Container) -> str:
    """``starting``, ``healthy``, ``unhealthy``, or "" without a health check."""
    return container.health.status if container.health is not None else ""


def shown_command(args: Sequence[str]) -> str:
    """A command line on one line; words with spaces are quoted."""
    return " ".join([args[0], *(f"'{word}'" if " " in word else word for word in args[1:])])


def ports_view(ports: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``Ports`` of a row, from those of inspect."""
    rows = []
    for key, places in ports.items():
        number, _, protocol = key.partition("/")
        private = {"PrivatePort": int(number)}
        if not places:
            rows.append({**private, "Type": protocol})
        for place in places or ():
            address = {"IP": place["HostIp"]} if place["HostIp"] else {}
            public = {"PublicPort": int(place["HostPort"])}
            rows.append({**address, **private, **public, "Type": protocol})
    return sorted(rows, key=lambda row: (row["PrivatePort"], str(row["Type"])))
