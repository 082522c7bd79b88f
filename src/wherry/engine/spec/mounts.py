"""The mounts of a container in the order in which they are made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.engine.config.host import HostConfig
from wherry.engine.config.mountpoints import MountPoint, in_order

Entry = dict[str, Any]

_HOST_QUEUES = "/dev/mqueue"
_STRICT = ("nosuid", "noexec", "nodev")


def _entry(destination: str, kind: str, source: str, *options: str) -> Entry:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def system_mounts(host: HostConfig, *, writable: bool, writable_cgroups: bool) -> list[Entry]:
    """/proc, /dev, /sys and what is below them; ``writable`` for privileged containers."""
    access = () if writable else ("ro",)
    cgroup_access = () if writable or writable_cgroups else ("ro",)
    ipc = host.ipc_mode
    entries = [
        _entry("/proc", "proc", "proc", *_STRICT),
        _entry("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _entry(
            "/dev/pts", "devpts", "devpts",
            "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
        ),
        _entry("/sys", "sysfs", "sysfs", *_STRICT, *access),
        _entry("/sys/fs/cgroup", "cgroup", "cgroup", *_STRICT, *cgroup_access),
    ]  # fmt: skip
    if ipc == "host":
        if os.path.isdir(_HOST_QUEUES):
            entries.append(_entry("/dev/mqueue", "bind", _HOST_QUEUES, "rbind", *_STRICT))
        entries.append(_entry("/dev/shm", "bind", "/dev/shm", "rbind"))
        return entries
    entries.append(_entry("/dev/mqueue", "mqueue", "mqueue", *_STRICT))
    return entries


def shm_mount(host: HostConfig, shared: str) -> list[Entry]:
    """/dev/shm: the container's own, or ``shared``, a tmpfs of the host that several see."""
    if host.ipc_mode in ("none", "host"):
        return []
    if shared:
        return [_entry("/dev/shm", "bind", shared, "bind", "rprivate", *_STRICT)]
    size = f"size={host.shm_size}"
    return [_entry("/dev/shm", "tmpfs", "shm", *_STRICT, "mode=1777", size)]


def user_mounts(
    points: Sequence[MountPoint], files: Mapping[str, str], *, read_only: bool = False
) -> list[Entry]:
    """Binds, volumes and tmpfs, and the engine's ``files`` where nothing else is mounted.

    Parents come first: a volume on ``/etc`` does not hide the hosts file. ``read_only``: the
    root is, and so the engine's files in it are too.
    """
    taken = {point.destination for point in points}
    entries = [
        _file(path, source, read_only) for path, source in files.items() if path not in taken
    ]
    entries += [_point(point) for point in in_order(points)]
    return sorted(entries, key=lambda entry: str(entry["destination"]).count("/"))


def _file(path: str, source: str, read_only: bool) -> Entry:
    access = ("ro",) if read_only else ()
    return _entry(path, "bind", source, "bind", "rprivate", *access)


def _point(point: MountPoint) -> Entry:
    if point.type == "tmpfs":
        chosen = {word.partition("=")[0] for word in point.options}
        options = ["nosuid", "nodev", "noexec", *point.options]
        # With copy-up the mode is that of the image's directory; the kernel's own is 1777.
        if "mode" not in chosen and not point.listed:
            options.append("mode=1777")
        if not point.read_write and "ro" not in options:
            options.append("ro")
        copy_up = [] if not point.listed else ["tmpcopyup"]
        return _entry(point.destination, "tmpfs", "tmpfs", *options, *copy_up)
    if point.type == "image":
        layers = [f"lowerdir+={path}" for path in point.lowers]
        part = [f"part={point.subpath}"] if point.subpath else []
        return _entry(point.destination, "overlay", "overlay", "ro", *layers, *part)
    options = ["rbind" if point.recursive else "bind", point.propagation or "rprivate"]
    if not point.read_write:
        options.append("ro")
        if point.read_only_recursive and point.recursive:
            options.append("rro")
    return _entry(point.destination, "bind", point.source, *options)
