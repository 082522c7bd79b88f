"""The cpuset controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wherry.linux.cgroups.files import Setting, reader, write

NAME = "cpuset"


def settings(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources``, the same on v1 and v2."""
    cpu = resources.get("cpu") or {}
    return [
        Setting(f"cpuset.{name}", cpu[name])
        for name in ("cpus", "mems")
        if cpu.get(name) is not None and cpu[name] != ""
    ]


def inherit_v1(parent: str, directory: str) -> None:
    """Give a new v1 cpuset its parent's cpus and nodes: it starts with none and takes no task."""
    read_parent, read = reader(parent), reader(directory)
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (read(name) or "").strip():
            write(directory, name, (read_parent(name) or "").strip())
