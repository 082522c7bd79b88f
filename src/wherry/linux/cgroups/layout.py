"""Which hierarchies this host has and where: v1, v2 or both at once."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass

from wherry.linux import mountinfo


@dataclass(frozen=True, slots=True)
class Layout:
    """``v1`` maps a hierarchy's name (``memory``, ``name=systemd``) to its mount point.

    Controllers mounted together have one entry each, with the same mount point. ``unified`` is
    the v2 tree, ``controllers`` what it offers.
    """

    v1: tuple[tuple[str, str], ...]
    unified: str | None
    controllers: tuple[str, ...]

    @property
    def version(self) -> int:
        """What Docker's info calls CgroupVersion: 2 only without any v1 controller."""
        return 2 if self.unified and not any("=" not in name for name, _ in self.v1) else 1

    def hierarchies(self) -> list[str]:
        """Each mount point once; the v2 tree comes last."""
        points = list(dict.fromkeys(point for _, point in self.v1))
        return [*points, self.unified] if self.unified else points

    def v1_mount(self, controller: str) -> str | None:
        """Mount point of a v1 controller."""
        return dict(self.v1).get(controller)

    def has(self, controller: str) -> bool:
        """Whether ``controller`` (v1 name or v2 name) can be used."""
        return controller in self.controllers or controller in dict(self.v1)


def layout_of(mounts: Iterable[mountinfo.MountInfo], own: str, controllers: str) -> Layout:
    """The layout from mountinfo, /proc/self/cgroup (``own``) and cgroup.controllers."""
    names_of_v1: set[str] = set()
    for line in own.splitlines():
        number, names, _ = line.split(":", 2)
        if number != "0":
            names_of_v1.update(names.split(","))
    v1: dict[str, str] = {}
    unified = None
    for mount in mounts:
        if mount.kind == "cgroup2":
            unified = unified or mount.target
        elif mount.kind == "cgroup":
            for option in mount.super_options:
                if option in names_of_v1:
                    v1.setdefault(option, mount.target)
    return Layout(tuple(v1.items()), unified, tuple(controllers.split()))


@functools.cache
def discover() -> Layout:
    """The layout of this host, read once."""
    mounts = [mount for mount in mountinfo.read() if mount.kind in ("cgroup", "cgroup2")]
    with open("/proc/self/cgroup") as file:
        own = file.read()
    unified = next((mount.target for mount in mounts if mount.kind == "cgroup2"), None)
    controllers = ""
    if unified and os.path.exists(f"{unified}/cgroup.controllers"):
        with open(f"{unified}/cgroup.controllers") as file:
            controllers = file.read()
    return layout_of(mounts, own, controllers)
