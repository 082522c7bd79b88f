"""Views for clients of older API versions, and their requests for this engine.

The engine speaks 1.51. Fields that came later than the client's version are harmless to it; here
are the ones that clients of a version need and that 1.51 no longer has (moby,
``docs/api/version-history.md``).
"""

from __future__ import annotations

from typing import Any

from wherry.api.versions import Version

View = dict[str, Any]

_OF_CONTAINERS: View = {
    **dict.fromkeys(("Hostname", "Domainname", "Image"), ""),
    **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), False),
    **dict.fromkeys(("Tty", "OpenStdin", "StdinOnce"), False),
}
"""What an image's Config showed up to 1.49: fields of containers, always empty."""
_OF_IMAGES: View = {
    **dict.fromkeys(("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes")),
    **dict.fromkeys(("User", "WorkingDir"), ""),
}
_NONDISTRIBUTABLE: View = {
    "AllowNondistributableArtifactsCIDRs": None,
    "AllowNondistributableArtifactsHostnames": None,
}


def container(view: View, version: Version) -> View:
    """``GET /containers/{id}/json``."""
    networks = (view.get("NetworkSettings") or {}).get("Networks") or {}
    if version < (1, 45):
        _aliases_with_id(networks, view["Id"], view["Config"].get("Hostname", ""))
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
    host = {} if host is None else host
    if not isinstance(host, dict):
        return body  # the engine says what is wrong with it
    if version < (1, 40) and not host.get("IpcMode"):
        host["IpcMode"] = "shareable"
    if version < (1, 41) and not host.get("CgroupnsMode"):
        host["CgroupnsMode"] = "host"
    if version < (1, 42):
        host.pop("ConsoleSize", None)
        for name in ("KernelMemory", "KernelMemoryTCP"):
            host.pop(name, None)
    if version < (1, 44):
        health = body.get("Healthcheck")
        if isinstance(health, dict):
            health.pop("StartInterval", None)
    if version < (1, 25):
        host.pop("AutoRemove", None)
    if host:
        body["HostConfig"] = host
    return body


def image(view: View, version: Version) -> View:
    """``GET /images/{name}/json``."""
    if version < (1, 50):
        view["Config"] = _OF_CONTAINERS | view["Config"]
    made_by = view.pop("Container", ""), view.pop("ContainerConfig", None) or {}
    if version < (1, 45):
        view["Container"] = made_by[0]
        view["ContainerConfig"] = _OF_CONTAINERS | _OF_IMAGES | made_by[1]
    if version < (1, 44):
        view.setdefault("VirtualSize", view.get("Size", 0))
        view.setdefault("Created", "0001-01-01T00:00:00Z")
    return view


def image_row(view: View, version: Version) -> View:
    """A row of ``GET /images/json``."""
    if version < (1, 51):
        view["Containers"] = -1
    if version < (1, 44):
        view.setdefault("VirtualSize", view.get("Size", 0))
    if version < (1, 43) and not view["RepoTags"] and not view["RepoDigests"]:
        view |= {"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}
    return view


def info(view: View, version: Version) -> View:
    """``GET /info``."""
    if version < (1, 50):
        view.setdefault("BridgeNfIptables", False)
        view.setdefault("BridgeNfIp6tables", False)
    if version < (1, 49):
        for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            view[name] = {**view[name], "Expected": view[name].get("ID", "")}
        view["RegistryConfig"] = _NONDISTRIBUTABLE | view["RegistryConfig"]
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
            row.setdefault("VirtualSize", row.get("Size", 0))
    return view


def _without(networks: dict[str, View], name: str) -> None:
    for endpoint in networks.values():
        endpoint.pop(name, None)


def _aliases_with_id(networks: dict[str, View], container_id: str, hostname: str) -> None:
    """Up to 1.44 a container on a network of its own had these names among its aliases."""
    for name, endpoint in networks.items():
        if name not in ("bridge", "host", "none"):
            names = (*(endpoint.get("Aliases") or ()), container_id[:12], hostname)
            endpoint["Aliases"] = list(dict.fromkeys(filter(None, names)))
