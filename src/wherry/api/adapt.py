"""Views for clients of older API versions, and their requests for this engine.

The engine speaks 1.51. Fields that came later than the client's version are harmless to it; here
are the ones that clients of a version need and that 1.51 no longer has (moby,
``docs/api/version-history.md``).
"""

from __future__ import annotations

from typing import Any

from wherry.api.versions import Version

View = dict[str, Any]


def container(view: View, version: Version) -> View:
    """``GET /containers/{id}/json``."""
    networks = (view.get("NetworkSettings") or {}).get("Networks") or {}
    if version < (1, 45):
        _aliases_with_id(networks, view["Id"])
    if version < (1, 44):
        _without(networks, "DNSNames")
        mode = (view.get("HostConfig") or {}).get("NetworkMode")
        chosen = networks.get(mode) or networks.get("bridge") or {}
        view["Config"].setdefault("MacAddress", chosen.get("MacAddress", ""))
    if version < (1, 42):
        view["HostConfig"].setdefault("KernelMemory", 0)
    return view


def container_row(view: View, version: Version) -> View:
    """A row of ``GET /containers/json``."""
    if version < (1, 44):
        _without((view.get("NetworkSettings") or {}).get("Networks") or {}, "DNSNames")
    return view


def create_request(body: View, version: Version) -> View:
    """The body of ``POST /containers/create``: defaults as they were for the client's version."""
    host = body.get("HostConfig")
    if not isinstance(host, dict):
        host = {}
    if version < (1, 40) and not host.get("IpcMode"):
        host["IpcMode"] = "shareable"
    if version < (1, 41) and not host.get("CgroupnsMode"):
        host["CgroupnsMode"] = "host"
    if version < (1, 42):
        host.pop("ConsoleSize", None)
        for name in ("KernelMemory", "KernelMemoryTCP"):
            host.pop(name, None)
    if version < (1, 25):
        host.pop("AutoRemove", None)
    if host:
        body["HostConfig"] = host
    return body


def image(view: View, version: Version) -> View:
    """``GET /images/{name}/json``."""
    if version < (1, 44):
        view.setdefault("VirtualSize", view.get("Size", 0))
    if version < (1, 45):
        view.setdefault("Container", "")
        view.setdefault("ContainerConfig", view.get("Config"))
    return view


def image_row(view: View, version: Version) -> View:
    """A row of ``GET /images/json``."""
    if version < (1, 44):
        view.setdefault("VirtualSize", view.get("Size", 0))
    return view


def info(view: View, version: Version) -> View:
    """``GET /info``."""
    if version < (1, 50):
        view.setdefault("BridgeNfIptables", False)
        view.setdefault("BridgeNfIp6tables", False)
    if version < (1, 44):
        for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            view[name] = {**view[name], "Expected": view[name].get("ID", "")}
    if version < (1, 42):
        view.setdefault("KernelMemory", False)
        view.setdefault("ClusterStore", "")
        view.setdefault("ClusterAdvertise", "")
    if version < (1, 25):
        view["ExecutionDriver"] = "<not supported>"
        view["SecurityOptions"] = [
            option.partition(",")[0].removeprefix("name=") for option in view["SecurityOptions"]
        ]
    return view


def disk_usage(view: View, version: Version) -> View:
    """``GET /system/df``."""
    if version < (1, 42):
        for record in view.get("BuildCache") or ():
            record.setdefault("Parent", "")
        view["BuilderSize"] = sum(
            record.get("Size", 0)
            for record in view.get("BuildCache") or ()
            if not record.get("Shared")
        )
    if version < (1, 44):
        for row in view.get("Images") or ():
            image_row(row, version)
    return view


def _without(networks: dict[str, View], name: str) -> None:
    for endpoint in networks.values():
        endpoint.pop(name, None)


def _aliases_with_id(networks: dict[str, View], container_id: str) -> None:
    """Up to 1.44 a container on a network of its own had its short id among its aliases."""
    for name, endpoint in networks.items():
        if name not in ("bridge", "host", "none"):
            aliases = list(endpoint.get("Aliases") or ())
            if container_id[:12] not in aliases:
                endpoint["Aliases"] = [*aliases, container_id[:12]]
