"""Control groups: one controller a file, v1 and v2 side by side, cgroups(7)."""

from wherry.linux.cgroups.cgroup import Cgroup, CgroupStats, Entrance, make_room
from wherry.linux.cgroups.layout import Layout, discover
from wherry.linux.cgroups.paths import below, clean

__all__ = [
    "Cgroup",
    "CgroupStats",
    "Entrance",
    "Layout",
    "below",
    "clean",
    "discover",
    "make_room",
]
