"""Images in the shapes of Docker Engine API 1.51: list, inspect, history."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wherry.images.config import ImageConfig
from wherry.images.store import Image, ImageStore

_ZERO_TIME = "0001-01-01T00:00:00Z"
_ALWAYS_SHOWN = {
    **dict.fromkeys(("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes")),
    **dict.fromkeys(("User", "WorkingDir"), ""),
}
_SHOWN_WHEN_SET = ("ArgsEscaped", "ExposedPorts", "Healthcheck", "Shell", "StopSignal")


def timestamp(seconds: float) -> str:
    """RFC 3339 with nanoseconds, in UTC; the zero time for 0."""
    if not seconds:
        return _ZERO_TIME
    whole, part = divmod(int(seconds * 1_000_000_000), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{part:09d}Z"


def unix_time(text: str) -> int:
    """Seconds of an RFC 3339 time; 0 when there is none or it is not one."""
    return int(unix_time_ns(text) // 1_000_000_000)


def unix_time_ns(text: str) -> int:
    """Nanoseconds of an RFC 3339 time; 0 when there is none or it is not one."""
    if not text or text.startswith("0001-"):
        return 0
    main, dot, rest = text.partition(".")
    digits = ""
    if dot:
        length = len(rest) - len(rest.lstrip("0123456789"))
        digits, rest = rest[:length], rest[length:]
        main += rest
    try:
        whole = int(datetime.fromisoformat(main.replace("Z", "+00:00")).timestamp())
    except ValueError:
        return 0
    return whole * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0)


def repo_tags(image: Image) -> list[str]:
    """Familiar names with tags."""
    return [reference.familiar for reference in image.tags]


def repo_digests(image: Image) -> list[str]:
    """Familiar names with digests."""
    return [reference.familiar for reference in image.digests]


def run_config(config: ImageConfig) -> dict[str, Any]:
    """The ``Config`` of inspect: fields of the image specification, by name as Docker has them."""
    fields = (*_ALWAYS_SHOWN, *_SHOWN_WHEN_SET)
    given = {key: config.run[key] for key in fields if config.run.get(key)}
    return dict(sorted((_ALWAYS_SHOWN | given).items()))


def inspect_view(store: ImageStore, image: Image) -> dict[str, Any]:
    """The answer of ``GET /images/{name}/json``."""
    config = image.config
    view: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": repo_tags(image),
        "RepoDigests": repo_digests(image),
        "Parent": image.parent,
        "Comment": config.comment or _last_comment(config),
        **({"Created": config.created} if config.created else {}),
        "Container": config.raw.get("container", ""),
        "ContainerConfig": config.raw.get("container_config"),
        "DockerVersion": config.docker_version,
        "Author": config.author,
        "Config": run_config(config),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Data": _graph_data(store, image), "Name": _driver(store)},
        "RootFS": {"Type": "layers"},
        "Metadata": {"LastTagTime": timestamp(image.tagged)},
    }
    if image.layers:
        view["RootFS"]["Layers"] = list(image.layers)
    if config.variant:
        view["Variant"] = config.variant
    if config.os_version:
        view["OsVersion"] = config.os_version
    return view


def _driver(store: ImageStore) -> str:
    driver = store.layers.driver
    return driver.shown or driver.name


def _last_comment(config: ImageConfig) -> str:
    return config.history[-1].comment if config.history else ""


def _graph_data(store: ImageStore, image: Image) -> dict[str, str]:
    if not image.layers:
        return {}
    paths = [store.layers.path(layer) for layer in reversed(image.layers)]
    data = {"UpperDir": paths[0]}
    if paths[1:]:
        data["LowerDir"] = ":".join(paths[1:])
    return data


def list_view(
    image: Image,
    tags: list[str],
    digests: list[str],
    containers: int = -1,
    shared: int = -1,
) -> dict[str, Any]:
    """One entry of ``GET /images/json``; -1 stands for not counted."""
    labels = image.config.run.get("Labels")
    return {
        "Containers": containers,
        "Created": unix_time(image.config.created),
        "Id": image.id,
        "Labels": labels if isinstance(labels, Mapping) else None,
        "ParentId": image.parent,
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared,
        "Size": image.size,
    }


def history_view(store: ImageStore, image: Image) -> list[dict[str, Any]]:
    """The answer of ``GET /images/{name}/history``: newest first."""
    lines: list[dict[str, Any]] = []
    layer = 0
    for item in image.config.history:
        size = 0
        if not item.empty_layer and layer < len(image.layers):
            size = store.layers.get(image.layers[layer]).size
            layer += 1
        lines.append(
            {
                "Comment": item.comment,
                "Created": unix_time(item.created),
                "CreatedBy": item.created_by,
                "Id": "<missing>",
                "Size": size,
                "Tags": None,
            }
        )
    lines.reverse()
    # A parent may be several steps away: it stands where its own history ends.
    found: Image | None = image
    place = -1
    while found is not None and place < (newer := len(lines) - len(found.config.history)):
        place = newer
        if place == len(lines):
            break
        lines[place]["Id"] = found.id
        lines[place]["Tags"] = repo_tags(found) or None
        found = store.find(found.parent) if found.parent else None
    return lines
