"""A container's root file system as a list of operations, made from the OCI spec alone.

Nothing here touches the system. `plan_root` decides; `wherry.runtime.sources` opens what comes
from the host, `wherry.runtime.rootbuild` carries the operations out in the container.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.errors import InvalidParameter
from wherry.linux import mounts
from wherry.linux.cgroups import Layout
from wherry.linux.root import OverlayRoot, Root

# --- what comes from the host: opened by the shim, handed to init as descriptors, in order


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy of the mount at a host path.

    ``set_recursively`` are attributes for the mounts below it too. ``idmap`` asks for the
    container's id map; ``required_idmap`` fails where that cannot be had.
    """

    path: str
    recursive: bool = False
    set_attributes: int = 0
    clear_attributes: int = 0
    set_recursively: int = 0
    propagation: int = 0
    idmap: bool = True
    required_idmap: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A device node; ``path`` is relative to the tree, ids are the container's."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class DeviceTree:
    """A tmpfs with device nodes and links, made where mknod is allowed: outside."""

    options: tuple[str, ...]
    attributes: int
    nodes: tuple[Node, ...]
    links: tuple[tuple[str, str], ...]


Source = Tree | DeviceTree

# --- what init does, in order; ``source`` is an index into the plan's sources


@dataclass(frozen=True, slots=True)
class Overlay:
    """Mount an overlay of source trees; upper and work are names inside ``writable``."""

    lowers: tuple[int, ...]
    writable: int
    upper: str
    work: str


@dataclass(frozen=True, slots=True)
class Directory:
    """Use a source tree as the root."""

    source: int


@dataclass(frozen=True, slots=True)
class Layers:
    """Attach a read-only overlay of source trees (topmost first), or its ``part`` ("" for all)."""

    lowers: tuple[int, ...]
    target: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Bind:
    """Attach a source tree."""

    source: int
    target: str


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Make a new file system instance: proc, sysfs, tmpfs, devpts, mqueue, cgroup2, …"""

    kind: str
    target: str
    options: tuple[str, ...] = ()
    attributes: int = 0
    source: str = ""
    copy_up: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Make a symbolic link; one that is there already stays."""

    path: str
    to: str


@dataclass(frozen=True, slots=True)
class Remount:
    """Add attributes to what is mounted at a path."""

    path: str
    attributes: int


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """One node out of a device tree, at a place outside the container's own /dev."""

    source: int
    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Console:
    """Make the terminal and attach it as /dev/console."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Mask:
    """Hide a path: a file behind the null device, a directory behind an empty one."""

    path: str


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """Make a path read-only."""

    path: str


@dataclass(frozen=True, slots=True)
class ReadOnlyRoot:
    """Make the root mount itself read-only."""


Building = Overlay | Directory | Layers | Bind | Filesystem | Link | Remount | DeviceFile | Console
Sealing = Mask | ReadOnly | ReadOnlyRoot


@dataclass(frozen=True, slots=True)
class RootPlan:
    """``sealing`` comes last: after it sysctls can no longer be written.

    ``null`` is the source that masks files; ``propagation`` is set on "/" after the pivot.
    """

    sources: tuple[Source, ...]
    building: tuple[Building, ...]
    sealing: tuple[Sealing, ...]
    null: int
    propagation: int = 0


_PROPAGATION = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
}
_PROPAGATION |= {f"r{name}": flag | mounts.MS_REC for name, flag in _PROPAGATION.items()}

_SET = {
    "ro": mounts.ATTR_RDONLY,
    "nosuid": mounts.ATTR_NOSUID,
    "nodev": mounts.ATTR_NODEV,
    "noexec": mounts.ATTR_NOEXEC,
    "noatime": mounts.ATTR_NOATIME,
    "strictatime": mounts.ATTR_STRICTATIME,
    "nodiratime": mounts.ATTR_NODIRATIME,
    "nosymfollow": mounts.ATTR_NOSYMFOLLOW,
}
_CLEAR = {
    "rw": mounts.ATTR_RDONLY,
    "suid": mounts.ATTR_NOSUID,
    "dev": mounts.ATTR_NODEV,
    "exec": mounts.ATTR_NOEXEC,
    "atime": mounts.ATTR_ATIME,
    "relatime": mounts.ATTR_ATIME,
    "diratime": mounts.ATTR_NODIRATIME,
    "symfollow": mounts.ATTR_NOSYMFOLLOW,
}
_IGNORED = {"defaults", "async", "sync", "dirsync", "nostrictatime", "iversion", "noiversion"}

_DEFAULT_DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_DEFAULT_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
)


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The option list of a mount, sorted by what each is for."""

    bind: bool = False
    recursive: bool = False
    set: int = 0
    clear: int = 0
    set_recursively: int = 0
    propagation: int = 0
    copy_up: bool = False
    no_idmap: bool = False
    idmap: bool = False
    data: tuple[str, ...] = ()


def known_options() -> list[str]:
    """Every mount option that is not passed on to the file system."""
    recursive = [f"r{name}" for name in _SET]
    others = ["bind", "rbind", "tmpcopyup", "idmap", "ridmap"]
    return sorted({*_SET, *_CLEAR, *_PROPAGATION, *_IGNORED, *recursive, *others})


def parse_options(options: Iterable[str]) -> MountOptions:
    """Sort mount options as mount(8) and the OCI runtime-spec name them; unknown ones are data."""
    bind = recursive = copy_up = no_idmap = idmap = False
    added = cleared = added_recursively = propagation = 0
    data = []
    for option in options:
        if option in ("bind", "rbind"):
            bind, recursive = True, option == "rbind"
        elif option in _SET:
            added, cleared = added | _SET[option], cleared & ~_SET[option]
        elif option in _CLEAR:
            added, cleared = added & ~_CLEAR[option], cleared | _CLEAR[option]
        elif option[:1] == "r" and option[1:] in _SET:
            added_recursively |= _SET[option[1:]]
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option == "tmpcopyup":
            copy_up = True
        elif option == "noidmap":
            no_idmap = True
        elif option in ("idmap", "ridmap"):
            idmap = True
        elif option in _IGNORED:
            continue
        else:
            data.append(option)
    return MountOptions(
        bind,
        recursive,
        added,
        cleared,
        added_recursively,
        propagation,
        copy_up,
        no_idmap,
        idmap,
        tuple(data),
    )


class _Planner:
    """Collects sources and operations; used by `plan_root` only."""

    def __init__(self, idmap: bool) -> None:
        self.idmap = idmap
        self.sources: list[Source] = []
        self.building: list[Building] = []

    def source(self, source: Source) -> int:
        self.sources.append(source)
        return len(self.sources) - 1


def plan_root(
    spec: Mapping[str, Any],
    root: Root,
    *,
    tty: bool,
    cgroup: str,
    layout: Layout,
    idmap: bool = True,
) -> RootPlan:
    """The root file system of ``spec`` on ``root``.

    ``cgroup`` is the container's path in the hierarchies of ``layout``. Raises
    `InvalidParameter` for a mount that has no absolute destination.
    """
    planner = _Planner(idmap)
    linux = spec.get("linux") or {}
    _plan_base(planner, root)
    destinations = {}
    for entry in spec.get("mounts") or ():
        destination = entry.get("destination") or ""
        if not destination.startswith("/"):
            raise InvalidParameter(f"mount destination is not an absolute path: {destination!r}")
        target = _target(entry)
        check_target(target, entry)
        destinations[target] = entry
    dev_entry = destinations.get("/dev")
    dev_is_ours = dev_entry is not None and dev_entry.get("type") == "tmpfs"
    dev_is_bound = dev_entry is not None and not dev_is_ours
    nodes = () if dev_is_bound else _nodes(linux)
    inside = tuple(n for n in nodes if dev_is_ours and n.path.startswith("/dev/"))
    outside = tuple(n for n in nodes if n not in inside)
    private_cgroups = any(n.get("type") == "cgroup" for n in linux.get("namespaces") or ())
    for entry in spec.get("mounts") or ():
        if (entry.get("type") or "") in ("cgroup", "cgroup2"):
            _plan_cgroups(planner, entry, None if private_cgroups else cgroup, layout)
        else:
            _plan_mount(planner, entry, inside)
    if outside:
        flat = tuple(
            Node(str(i), n.kind, n.major, n.minor, n.mode, n.uid, n.gid)
            for i, n in enumerate(outside)
        )
        tree = planner.source(DeviceTree(("mode=755",), mounts.ATTR_NOSUID, flat, ()))
        planner.building += [DeviceFile(tree, str(i), n.path) for i, n in enumerate(outside)]
    process = spec.get("process") or {}
    if tty:
        size = process.get("consoleSize") or {}
        planner.building.append(Console(size.get("height") or 0, size.get("width") or 0))
    null = planner.source(Tree("/dev/null", idmap=False))
    sealing: list[Sealing] = [ReadOnly(path) for path in linux.get("readonlyPaths") or ()]
    sealing += [Mask(path) for path in linux.get("maskedPaths") or ()]
    if (spec.get("root") or {}).get("readonly"):
        sealing.append(ReadOnlyRoot())
    propagation = _PROPAGATION.get(linux.get("rootfsPropagation") or "", 0)
    return RootPlan(
        tuple(planner.sources), tuple(planner.building), tuple(sealing), null, propagation
    )


OVER_PROC = frozenset(
    {
        *("/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev"),
        *("/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime"),
        *("/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled"),
    }
)
"""What may be mounted over in /proc: files that only tell numbers, which lxcfs makes up."""


def check_target(target: str, entry: Mapping[str, Any]) -> None:
    """Refuse a mount on /proc that is no procfs, and nearly every one inside of it.

    A program, and every runtime that enters the container, trusts what it reads and writes there
    (CVE-2019-16884, CVE-2023-28642). `wherry.runtime.rootbuild` asks again where links of the
    image have led, and whether a tree that is bound on /proc is a procfs.
    """
    kind = entry.get("type") or ""
    bound = kind == "bind" or bool({"bind", "rbind"} & {*(entry.get("options") or ())})
    if target == "/proc" and kind != "proc" and not bound:
        raise InvalidParameter(f"{target!r} cannot be mounted because it is not of type proc")
    if target.startswith("/proc/") and target not in OVER_PROC:
        raise InvalidParameter(f"{target!r} cannot be mounted because it is inside /proc")


def _plan_base(planner: _Planner, root: Root) -> None:
    if not isinstance(root, OverlayRoot):
        tree = Tree(
            root.path,
            recursive=True,
            propagation=mounts.MS_PRIVATE,
            idmap=planner.idmap,
            required_idmap=planner.idmap,
        )
        planner.building.append(Directory(planner.source(tree)))
        return
    lowers = tuple(planner.source(Tree(path, required_idmap=True)) for path in root.lowers)
    common = posixpath.commonpath([root.upper, root.work])
    writable = planner.source(Tree(common, required_idmap=True))
    upper, work = (posixpath.relpath(path, common) for path in (root.upper, root.work))
    planner.building.append(Overlay(lowers, writable, upper, work))


def _nodes(linux: Mapping[str, Any]) -> tuple[Node, ...]:
    nodes = {f"/dev/{n}": Node(f"/dev/{n}", "c", a, b, 0o666) for n, a, b in _DEFAULT_DEVICES}
    for entry in linux.get("devices") or ():
        path = posixpath.normpath(entry["path"])
        nodes[path] = Node(
            path,
            entry.get("type") or "c",
            entry.get("major") or 0,
            entry.get("minor") or 0,
            (entry.get("fileMode") or 0o666) & 0o7777,
            entry.get("uid") or 0,
            entry.get("gid") or 0,
        )
    return tuple(nodes.values())


def _target(entry: Mapping[str, Any]) -> str:
    """Where a mount goes; normpath(3) would keep two slashes at the beginning."""
    destination: str = entry["destination"]
    return posixpath.normpath("/" + destination.lstrip("/"))


PART = "part="
"""Begins the option of an overlay entry that names the part of it to be mounted."""
_LOWER = "lowerdir+="


def layers_entry(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], str] | None:
    """(layer directories, topmost first; part) of an overlay of layers, None for other mounts."""
    options = entry.get("options") or ()
    lowers = tuple(word.removeprefix(_LOWER) for word in options if word.startswith(_LOWER))
    if entry.get("type") != "overlay" or not lowers:
        return None
    return lowers, next((word.removeprefix(PART) for word in options if word.startswith(PART)), "")


def _plan_mount(planner: _Planner, entry: Mapping[str, Any], nodes: tuple[Node, ...]) -> None:
    target = _target(entry)
    kind = entry.get("type") or ""
    options = parse_options(entry.get("options") or ())
    if found := layers_entry(entry):
        lowers, part = found
        trees = [Tree(path, required_idmap=planner.idmap) for path in lowers]
        planner.building.append(Layers(tuple(map(planner.source, trees)), target, part))
    elif options.bind or kind == "bind":
        planner.building.append(
            Bind(planner.source(_bind_tree(entry, options, planner.idmap)), target)
        )
    elif target == "/dev" and kind == "tmpfs":
        inside = tuple(
            Node(n.path[len("/dev/") :], n.kind, n.major, n.minor, n.mode, n.uid, n.gid)
            for n in nodes
        )
        tree = DeviceTree(
            tuple(o for o in options.data if not o.startswith(("uid=", "gid="))),
            options.set & ~mounts.ATTR_NODEV,
            inside,
            _DEFAULT_LINKS,
        )
        planner.building.append(Bind(planner.source(tree), target))
    else:
        planner.building.append(
            Filesystem(
                kind,
                target,
                options.data,
                options.set,
                entry.get("source") or kind,
                options.copy_up and kind == "tmpfs",
            )
        )


def _plan_cgroups(
    planner: _Planner, entry: Mapping[str, Any], host_path: str | None, layout: Layout
) -> None:
    """The v2 tree, or each v1 hierarchy on a tmpfs.

    In a cgroup namespace of its own the container mounts what it sees; in the host's
    (``host_path`` given) its own directories are bound from outside.
    """
    target = _target(entry)
    attributes = parse_options(entry.get("options") or ()).set
    if layout.version == 2 and layout.unified:
        if host_path is None:
            planner.building.append(Filesystem("cgroup2", target, (), attributes, "cgroup"))
        else:
            tree = Tree(layout.unified, set_attributes=attributes, idmap=False)
            planner.building.append(Bind(planner.source(tree), target))
        return
    base = attributes & ~mounts.ATTR_RDONLY
    planner.building.append(Filesystem("tmpfs", target, ("mode=755",), base, "tmpfs"))
    names: dict[str, list[str]] = {}
    for name, point in layout.v1:
        names.setdefault(point, []).append(name)
    for point, controllers in names.items():
        place = f"{target}/{posixpath.basename(point)}"
        if host_path is None:
            named = any("=" in name for name in controllers)
            options = (*(("none",) if named else ()), *controllers)
            planner.building.append(Filesystem("cgroup", place, options, attributes, "cgroup"))
        else:
            tree = Tree(point + host_path, set_attributes=attributes, idmap=False)
            planner.building.append(Bind(planner.source(tree), place))
        planner.building += [
            Link(f"{target}/{name}", posixpath.basename(point))
            for name in controllers
            if "=" not in name and name != posixpath.basename(point)
        ]
    if attributes & mounts.ATTR_RDONLY:
        planner.building.append(Remount(target, mounts.ATTR_RDONLY))


def _bind_tree(entry: Mapping[str, Any], options: MountOptions, idmap: bool) -> Tree:
    asked = options.idmap or bool(entry.get("uidMappings"))
    return Tree(
        entry.get("source") or "",
        recursive=options.recursive,
        set_attributes=options.set,
        clear_attributes=options.clear,
        set_recursively=options.set_recursively,
        propagation=options.propagation or (mounts.MS_PRIVATE | mounts.MS_REC),
        idmap=asked or (idmap and not options.no_idmap),
        required_idmap=asked,
    )
