"""``--mount`` and ``--volume``: from text to the API's Mount and Binds."""

from __future__ import annotations

import os

from wherry.cli.kinds import parse_bytes, read_csv
from wherry.golang import parse_bool, parse_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BARE = frozenset(("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"))
_OPTIONS_OF = (("bind", "BindOptions"), ("volume", "VolumeOptions"), ("image", "ImageOptions"))
_PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))


def parse_mount(text: str) -> dict[str, Any]:
    """One ``--mount`` value as the API's Mount object; raises ValueError."""
    fields = [field.strip() for field in read_csv(text)]
    if not fields:
        raise ValueError("value is empty")
    mount: dict[str, Any] = {"Type": "volume", "BindOptions": {}}
    for field in fields:
        name, equals, value = field.partition("=")
        key = name.lower().strip()
        if not equals and key not in _BARE:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        if equals and value != value.strip():
            raise ValueError(
                f"invalid option '{key}' in '{field}': value should not have whitespace"
            )
        _apply(mount, key, value if equals else "true", field)
    _check(mount)
    _clean(mount)
    return mount


def _path(value: str) -> str:
    """A path of the host; one that begins with a dot is meant from here."""
    relative = value in (".", "..") or value.startswith(("./", "../"))
    return os.path.abspath(value) if relative else value


def _octal(value: str) -> int:
    return parse_int(value, 32, signed=False, base=8)


_FIELDS: dict[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "type": (("Type",), str.lower),
    "source": (("Source",), _path),
    "src": (("Source",), _path),
    "target": (("Target",), str),
    "dst": (("Target",), str),
    "destination": (("Target",), str),
    "readonly": (("ReadOnly",), parse_bool),
    "ro": (("ReadOnly",), parse_bool),
    "consistency": (("Consistency",), str.lower),
    "bind-propagation": (("BindOptions", "Propagation"), str.lower),
    "bind-nonrecursive": (("BindOptions", "NonRecursive"), parse_bool),
    "bind-create-src": (("BindOptions", "CreateMountpoint"), parse_bool),
    "volume-subpath": (("VolumeOptions", "Subpath"), str),
    "volume-nocopy": (("VolumeOptions", "NoCopy"), parse_bool),
    "volume-driver": (("VolumeOptions", "DriverConfig", "Name"), str),
    "image-subpath": (("ImageOptions", "Subpath"), str),
    "tmpfs-size": (("TmpfsOptions", "SizeBytes"), parse_bytes),
    "tmpfs-mode": (("TmpfsOptions", "Mode"), _octal),
}
"""Where the value of a key goes in the Mount object, and how it is read."""
_PAIRS = {
    "volume-label": ("VolumeOptions", "Labels"),
    "volume-opt": ("VolumeOptions", "DriverConfig", "Options"),
}
"""Where keys go whose values are ``NAME=CONTENT``; they may be given again."""


def _apply(mount: dict[str, Any], key: str, value: str, field: str) -> None:
    """Put the value of one key into the Mount object; raises ValueError."""
    if key in _FIELDS:
        place, read = _FIELDS[key]
        try:
            _put(mount, place, read(value))
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    elif key in _PAIRS:
        name, _, content = value.partition("=")
        _put(mount, (*_PAIRS[key], name), content)
    elif key == "bind-recursive":
        _bind_recursive(mount["BindOptions"], mount, value)
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _put(mount: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    for name in place[:-1]:
        mount = mount.setdefault(name, {})
    mount[place[-1]] = value


def _bind_recursive(bind: dict[str, Any], mount: dict[str, Any], value: str) -> None:
    if value == "enabled":
        pass
    elif value == "disabled":
        bind["NonRecursive"] = True
    elif value == "writable":
        bind["ReadOnlyNonRecursive"] = True
    elif value == "readonly":
        bind["ReadOnlyForceRecursive"] = True
    else:
        raise ValueError(
            f"invalid value for bind-recursive: {value} "
            '(must be "enabled", "disabled", "writable", or "readonly")'
        )


def _check(mount: dict[str, Any]) -> None:
    kind = mount["Type"]
    if not kind:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for own, options in (
        ("volume", "VolumeOptions"),
        ("image", "ImageOptions"),
        ("bind", "BindOptions"),
        ("tmpfs", "TmpfsOptions"),
    ):
        if mount.get(options) and kind != own:
            raise ValueError(f"cannot mix '{own}-*' options with mount type '{kind}'")
    bind = mount["BindOptions"]
    if bind.get("ReadOnlyNonRecursive") and not mount.get("ReadOnly"):
        raise ValueError(
            "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"
        )
    if bind.get("ReadOnlyForceRecursive"):
        if not mount.get("ReadOnly"):
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'readonly' to be specified in "
                "conjunction"
            )
        if bind.get("Propagation") != "rprivate":
            raise ValueError(
                "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be "
                "specified in conjunction"
            )


def _clean(mount: dict[str, Any]) -> None:
    """Leave out what is empty or false, as the API's clients do."""
    for options in ("BindOptions", "VolumeOptions", "TmpfsOptions", "ImageOptions"):
        if options in mount:
            given = mount[options]
            mount[options] = {key: value for key, value in given.items() if value}
            if not given:
                del mount[options]
            elif options == "VolumeOptions":
                mount[options].setdefault("DriverConfig", {})
    for key in ("ReadOnly", "Source", "Consistency"):
        if not mount.get(key):
            mount.pop(key, None)


def split_volumes(values: list[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """``--volume`` values as (binds, anonymous volumes); raises ValueError."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, Any]] = {}
    for value in dict.fromkeys(values):
        if not value:
            raise ValueError("invalid empty volume spec")
        if ":" not in value:
            anonymous[value] = {}
            continue
        source, rest = value.split(":", 1)
        if not source or rest.startswith(":") or not rest.split(":")[0]:
            raise ValueError(f"invalid spec: {value}: empty section between colons")
        if source.startswith("."):
            source = os.path.abspath(source)
        binds.append(f"{source}:{rest}")
    return binds, anonymous
