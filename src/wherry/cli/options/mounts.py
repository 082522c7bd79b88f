"""``--mount`` and ``--volume``: from text to the API's Mount and Binds."""

from __future__ import annotations

import os

from wherry.cli.kinds import parse_bytes, read_csv
from wherry.golang import parse_bool, parse_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BARE = frozenset(("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"))
_OPTIONS_OF = (("bind", "BindOptions"), ("volume", "VolumeOptions"), ("image", "ImageOptions"))
_PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))


def parse_mount(text: str) -> dict[str, Any]:
    """One ``--mount`` value as the API's Mount object; raises ValueError."""
    fields = [field.strip() for field in read_csv(text)]
    if not fields:
        raise ValueError("value is empty")
    mount: dict[str, Any] = {"Type": "volume"}
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


def _bool(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _apply(mount: dict[str, Any], key: str, value: str, field: str) -> None:
    bind = mount.setdefault("BindOptions", {})
    volume = mount.setdefault("VolumeOptions", {})
    tmpfs = mount.setdefault("TmpfsOptions", {})
    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        if value == "." or value.startswith(("./", "../")) or value == "..":
            value = os.path.abspath(value)
        mount["Source"] = value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _bool(key, value)
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key == "bind-propagation":
        bind["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        bind["NonRecursive"] = _bool(key, value)
    elif key == "bind-create-src":
        bind["CreateMountpoint"] = _bool(key, value)
    elif key == "bind-recursive":
        _bind_recursive(bind, mount, value)
    elif key == "volume-subpath":
        volume["Subpath"] = value
    elif key == "image-subpath":
        mount.setdefault("ImageOptions", {})["Subpath"] = value
    elif key == "volume-nocopy":
        volume["NoCopy"] = _bool(key, value)
    elif key == "volume-label":
        name, _, content = value.partition("=")
        volume.setdefault("Labels", {})[name] = content
    elif key == "volume-driver":
        volume.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        name, _, content = value.partition("=")
        volume.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = content
    elif key == "tmpfs-size":
        try:
            tmpfs["SizeBytes"] = parse_bytes(value)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    elif key == "tmpfs-mode":
        try:
            tmpfs["Mode"] = parse_int(value, 32, signed=False, base=8)
        except ValueError:
            raise ValueError(f"invalid value for {key}: {value}") from None
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


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
