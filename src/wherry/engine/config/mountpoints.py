"""Binds, tmpfs and mounts of a request as one kind of thing: mount points, in Docker's rules."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from wherry.engine.config.mount import Mount
from wherry.errors import InvalidParameter

_PROPAGATIONS = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
_READ_WRITE = frozenset({"rw", "ro"})
_LABELS = frozenset({"z", "Z"})
_CONSISTENCIES = frozenset({"consistent", "cached", "delegated"})


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One mount of a container.

    ``source`` is a host path of a bind, and is filled in for a volume when the container starts;
    ``name`` is the volume's name or the image's reference. ``options`` are a tmpfs's. Of an
    image mount, ``image`` is the image's id, ``layers`` its diff ids, base first, and ``lowers``
    the directories to mount, topmost first, filled in when the container starts.
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    driver_options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mode: str = ""
    read_write: bool = True
    propagation: str = ""
    copy_up: bool = False
    subpath: str = ""
    recursive: bool = True
    read_only_recursive: bool = True
    force_recursive: bool = False
    create_source: bool = False
    options: tuple[str, ...] = ()
    anonymous: bool = False
    listed: bool = True
    image: str = ""
    layers: tuple[str, ...] = ()
    lowers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A form for the store."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MountPoint:
        """The inverse of `to_json`."""
        several = ("options", "layers", "lowers")
        return cls(**{**values, **{name: tuple(values.get(name) or ()) for name in several}})

    def view(self) -> dict[str, Any]:
        """The entry of ``Mounts`` in inspect."""
        view: dict[str, Any] = {"Type": self.type}
        if self.name:
            view["Name"] = self.name
        view["Source"] = self.source
        view["Destination"] = self.destination
        if self.driver:
            view["Driver"] = self.driver
        return {
            **view,
            "Mode": self.mode,
            "RW": self.read_write,
            "Propagation": self.propagation if self.type == "bind" else "",
        }


def parse_bind(text: str, volume_driver: str = "") -> MountPoint:
    """An entry of ``Binds``: ``[source:]destination[:mode]``; raises InvalidParameter.

    Its propagation is the one asked for: see `bind_propagation`.
    """
    parts = text.split(":")
    wrong = InvalidParameter(f"invalid volume specification: '{text}'")
    if len(parts) > 3 or not all(parts):
        raise wrong
    if len(parts) == 1:
        source, destination, mode = "", parts[0], ""
    elif len(parts) == 2:
        # "name:ro" cannot be told from a destination except by its form.
        source, destination, mode = parts[0], parts[1], ""
    else:
        source, destination, mode = parts
    if not destination.startswith("/"):
        if len(parts) == 2 and _is_mode(destination):
            raise wrong
        raise InvalidParameter(
            f"invalid volume specification: '{text}': invalid mount config for type"
            f" \"{_kind(source)}\": invalid mount path: '{destination}' mount path must be absolute"
        )
    target = clean(destination)
    if target == "/":
        raise InvalidParameter(
            f"invalid volume specification: '{text}': invalid mount config for type"
            f" \"{_kind(source)}\": invalid specification: destination can't be '/'"
        )
    options = _mode_options(mode)
    read_write = "ro" not in options
    propagation = next((one for one in options if one in _PROPAGATIONS), "")
    if source.startswith("/"):
        if "nocopy" in options:
            raise InvalidParameter(f"invalid mode: {mode}")
        return MountPoint(
            "bind",
            target,
            source=clean(source),
            mode=mode,
            read_write=read_write,
            propagation=propagation,
            create_source=True,
        )
    if propagation:
        raise InvalidParameter(f"invalid mode: {mode}")
    check_volume_name(source)
    return MountPoint(
        "volume",
        target,
        name=source,
        driver=volume_driver,
        mode=mode,
        read_write=read_write,
        copy_up="nocopy" not in options,
        anonymous=not source,
    )


def _kind(source: str) -> str:
    return "bind" if source.startswith("/") else "volume"


def _is_mode(text: str) -> bool:
    return all(
        word in _READ_WRITE | _LABELS | _PROPAGATIONS | _CONSISTENCIES | {"nocopy"}
        for word in text.split(",")
    )


def _mode_options(mode: str) -> list[str]:
    """The words of a bind's mode; at most one of each sort. Raises InvalidParameter."""
    words = mode.split(",") if mode else []
    for sort in (_READ_WRITE, _LABELS, _PROPAGATIONS, _CONSISTENCIES, {"nocopy"}):
        if sum(word in sort for word in words) > 1:
            raise InvalidParameter(f"invalid mode: {mode}")
    if words and not _is_mode(mode):
        raise InvalidParameter(f"invalid mode: {mode}")
    return words


def check_volume_name(name: str) -> None:
    """Raise InvalidParameter unless ``name`` can name a volume."""
    allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    if not name:
        return
    if len(name) < 2:
        raise InvalidParameter(
            f"create {name}: volume name is too short, names should be at least two alphanumeric"
            " characters"
        )
    if name[0] not in allowed or any(letter not in allowed + "_.-" for letter in name):
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only'
            ' "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory,'
            " use absolute path"
        )


def parse_mount(mount: Mount) -> MountPoint:
    """An entry of ``Mounts``; raises InvalidParameter in Docker's words."""

    def wrong(reason: str) -> InvalidParameter:
        return InvalidParameter(f'invalid mount config for type "{mount.type}": {reason}')

    target = _checked_target(mount.target, wrong)
    _check_options(mount, wrong)
    if mount.type == "bind":
        return _parse_bind_mount(mount, target, wrong)
    if mount.type == "volume":
        return _parse_volume_mount(mount, target, wrong)
    if mount.type == "image":
        return _parse_image_mount(mount, target, wrong)
    if mount.source:
        raise wrong("field Source must not be specified")
    return MountPoint(
        "tmpfs", target, read_write=not mount.read_only, options=_tmpfs_options(mount, wrong)
    )


def _checked_target(given: str, wrong: Any) -> str:
    if not given:
        raise wrong("field Target must not be empty")
    if not given.startswith("/"):
        raise wrong(f"invalid mount path: '{given}' mount path must be absolute")
    target = clean(given)
    if target == "/":
        raise wrong("invalid specification: destination can't be '/'")
    return target


def _check_options(mount: Mount, wrong: Any) -> None:
    """Only options of the mount's own type may be given."""
    options = {
        "bind": ("BindOptions", mount.bind_options),
        "volume": ("VolumeOptions", mount.volume_options),
        "tmpfs": ("TmpfsOptions", mount.tmpfs_options),
        "image": ("ImageOptions", mount.image_options),
    }
    if mount.type not in options:
        raise wrong("mount type unknown")
    for kind, (name, given) in options.items():
        if given is not None and kind != mount.type:
            raise wrong(f"field {name} must not be specified")


def _parse_image_mount(mount: Mount, target: str, wrong: Any) -> MountPoint:
    if not mount.source:
        raise wrong("field Source must not be empty")
    subpath = mount.image_options.subpath if mount.image_options else ""
    return MountPoint(
        "image",
        target,
        name=mount.source,
        read_write=False,
        subpath=_checked_subpath(subpath, wrong),
    )


def _parse_bind_mount(mount: Mount, target: str, wrong: Any) -> MountPoint:
    if not mount.source:
        raise wrong("field Source must not be empty")
    if not mount.source.startswith("/"):
        raise wrong(f"invalid mount path: '{mount.source}' mount path must be absolute")
    chosen = mount.bind_options
    propagation = chosen.propagation if chosen else ""
    if propagation and propagation not in _PROPAGATIONS:
        raise wrong(f"invalid propagation mode: {propagation}")
    if chosen and chosen.read_only_non_recursive and not mount.read_only:
        raise wrong("mount must be read-only to set BindOptions.ReadOnlyNonRecursive")
    if chosen and chosen.read_only_force_recursive:
        if not mount.read_only:
            raise wrong("mount must be read-only to set BindOptions.ReadOnlyForceRecursive")
        if propagation != "rprivate":
            raise wrong("propagation must be rprivate to set BindOptions.ReadOnlyForceRecursive")
        if chosen.read_only_non_recursive:
            raise wrong("ReadOnlyNonRecursive and ReadOnlyForceRecursive are mutually exclusive")
    return MountPoint(
        "bind",
        target,
        source=clean(mount.source),
        read_write=not mount.read_only,
        propagation=propagation,
        recursive=not (chosen and chosen.non_recursive),
        read_only_recursive=not (chosen and chosen.read_only_non_recursive),
        force_recursive=bool(chosen and chosen.read_only_force_recursive),
        create_source=bool(chosen and chosen.create_mountpoint),
    )


def _parse_volume_mount(mount: Mount, target: str, wrong: Any) -> MountPoint:
    chosen = mount.volume_options
    driver = chosen.driver_config if chosen else None
    subpath = chosen.subpath if chosen else ""
    if subpath and not mount.source:
        raise wrong("must not set Subpath when using anonymous volumes")
    check_volume_name(mount.source)
    return MountPoint(
        "volume",
        target,
        name=mount.source,
        driver=driver.name if driver else "",
        driver_options=dict((driver.options if driver else None) or {}),
        labels=dict((chosen.labels if chosen else None) or {}),
        read_write=not mount.read_only,
        copy_up=not (chosen and chosen.no_copy),
        subpath=_checked_subpath(subpath, wrong),
        anonymous=not mount.source,
    )


def _checked_subpath(subpath: str, wrong: Any) -> str:
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise wrong("subpath must be a relative path within the volume")
    return subpath


def _tmpfs_options(mount: Mount, wrong: Any) -> tuple[str, ...]:
    chosen = mount.tmpfs_options
    options = []
    if chosen and chosen.size_bytes:
        if chosen.size_bytes < 0:
            raise wrong("invalid size")
        options.append(f"size={chosen.size_bytes}")
    if chosen and chosen.mode:
        options.append(f"mode={chosen.mode:o}")
    options += ["=".join(words) for words in (chosen.options if chosen else None) or ()]
    return tuple(options)


def parse_tmpfs(destination: str, options: str) -> MountPoint:
    """An entry of ``Tmpfs``: a path and mount options; raises InvalidParameter."""
    target = clean(destination)
    if not destination.startswith("/"):
        raise InvalidParameter(f"invalid mount path: '{destination}' mount path must be absolute")
    if target == "/":
        raise InvalidParameter("invalid specification: destination can't be '/'")
    words = tuple(word for word in options.split(",") if word)
    known = {
        *("ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async"),
        *("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime"),
        *("strictatime", "nostrictatime", "mand", "nomand", "dirsync", "remount", "bind", "rbind"),
        *("unbindable", "runbindable", "private", "rprivate", "shared", "rshared", "slave"),
        *("rslave", "mpol", "size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "inode64"),
    }
    for word in words:
        if word.partition("=")[0] not in known:
            shown = " ".join(f'"{part}"' for part in word.split("=", 1))
            raise InvalidParameter(f"invalid tmpfs option [{shown}]")
    return MountPoint("tmpfs", target, read_write="ro" not in words, options=words, listed=False)


def clean(path: str) -> str:
    """An absolute path in its shortest form."""
    return "/" + posixpath.normpath(path).lstrip("/")


def check_duplicates(points: Iterable[MountPoint]) -> None:
    """Raise InvalidParameter when two mounts have one destination."""
    seen: set[str] = set()
    for point in points:
        if point.destination in seen:
            raise InvalidParameter(f"Duplicate mount point: {point.destination}")
        seen.add(point.destination)


def bind_propagation(source: str, asked: str, data_root: str) -> str:
    """How mounts go on between a bind and its source; ``asked`` is "" for the default.

    A private copy of the data root, or of a folder that contains it, would keep mounts of the
    engine alive that it has taken away: there it is a slave. Raises InvalidParameter in Docker's
    words. Both paths are absolute and without links.
    """
    common = posixpath.commonpath([source, data_root])
    if common not in (source, data_root):
        return asked or "rprivate"
    if asked in ("", "rslave", "rshared"):
        return asked or "rslave"
    raise InvalidParameter(
        'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount'
        f' source is within the daemon root, daemon root: "{data_root}", bind mount source:'
        f' "{source}", propagation: "{asked}"'
    )


def requested(
    binds: Sequence[str] | None,
    mounts: Sequence[Mount] | None,
    tmpfs: Mapping[str, str] | None,
    volume_driver: str,
) -> list[MountPoint]:
    """The mount points that a host configuration names; raises InvalidParameter.

    Binds have the propagation asked for, if any.
    """
    points = [parse_bind(text, volume_driver) for text in binds or ()]
    points += [parse_mount(mount) for mount in mounts or ()]
    points += [parse_tmpfs(path, options) for path, options in (tmpfs or {}).items()]
    check_duplicates(points)
    return points


def in_order(points: Iterable[MountPoint]) -> list[MountPoint]:
    """Parents before what is mounted below them."""
    return sorted(points, key=lambda point: (point.destination.count("/"), point.destination))
