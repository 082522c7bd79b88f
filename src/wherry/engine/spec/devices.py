"""Devices of a container: what the runtime makes, and what the device controller allows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from wherry.engine.config.host import DeviceMapping, HostConfig
from wherry.errors import InvalidParameter

_ALLOWED = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
_HIDDEN = frozenset(
    {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx"}
)


def default_rules() -> list[dict[str, Any]]:
    """The device rules of every container: nothing but making nodes and Docker's few devices."""
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    for major, minor in _ALLOWED:
        rule: dict[str, Any] = {"allow": True, "type": "c", "major": major, "access": "rwm"}
        rules.append(rule if minor is None else {**rule, "minor": minor})
    return rules


def devices(host: HostConfig) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """``linux.devices`` and ``linux.resources.devices`` of a container.

    Reads the host's /dev for what was asked for; raises InvalidParameter for what is not there.
    """
    if host.privileged:
        return list(_all_nodes()), [{"allow": True, "access": "rwm"}]
    nodes: list[dict[str, Any]] = []
    rules = default_rules()
    for mapping in host.devices or ():
        for node in _mapped(mapping):
            nodes.append(node)
            rules.append(
                {
                    "allow": True,
                    "type": node["type"],
                    "major": node["major"],
                    "minor": node["minor"],
                    "access": mapping.cgroup_permissions or "rwm",
                }
            )
    rules += [parse_rule(text) for text in host.device_cgroup_rules or ()]
    return nodes, rules


def parse_rule(text: str) -> dict[str, Any]:
    """A ``--device-cgroup-rule``: ``c 1:* rwm``."""
    kind, numbers, access = text.split(" ")
    major, _, minor = numbers.partition(":")
    rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule


def _mapped(mapping: DeviceMapping) -> Iterator[dict[str, Any]]:
    source = os.path.realpath(mapping.path_on_host)
    target = mapping.path_in_container or mapping.path_on_host
    try:
        status = os.stat(source)
    except OSError as error:
        raise _missing(mapping, (error.strerror or "").lower()) from None
    if stat.S_ISDIR(status.st_mode):
        found = False
        for folder, _, names in os.walk(source):
            for name in names:
                path = f"{folder}/{name}"
                node = _node(path, target + path[len(source) :])
                if node is not None:
                    found = True
                    yield node
        if not found:
            raise _missing(mapping, "no device nodes found")
        return
    node = _node(source, target)
    if node is None:
        raise _missing(mapping, "not a device node")
    yield node


def _missing(mapping: DeviceMapping, reason: str) -> InvalidParameter:
    return InvalidParameter(
        "error gathering device information while adding custom device"
        f' "{mapping.path_on_host}": {reason}'
    )


def _node(path: str, target: str) -> dict[str, Any] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return {
        "path": target,
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _all_nodes(folder: str = "/dev") -> Iterator[dict[str, Any]]:
    for entry in os.scandir(folder):
        if folder == "/dev" and entry.name in _HIDDEN:
            continue
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _all_nodes(entry.path)
            continue
        node = _node(entry.path, entry.path)
        if node is not None:
            yield node
