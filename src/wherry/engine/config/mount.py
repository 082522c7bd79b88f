# ruff: noqa: RUF009 (api() makes a dataclass field)
"""Mount: an entry of ``HostConfig.Mounts`` (API 1.51, definition Mount)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wherry.engine.config.codec import (
    FLAG,
    INTEGER,
    TEXT,
    TEXT_MAP,
    Kind,
    api,
    mismatch,
    one,
)


@dataclass(frozen=True, slots=True)
class BindOptions:
    """Options of a bind mount."""

    propagation: str = api("Propagation", TEXT, omit=True)
    non_recursive: bool = api("NonRecursive", FLAG, omit=True)
    create_mountpoint: bool = api("CreateMountpoint", FLAG, omit=True)
    read_only_non_recursive: bool = api("ReadOnlyNonRecursive", FLAG, omit=True)
    read_only_force_recursive: bool = api("ReadOnlyForceRecursive", FLAG, omit=True)


@dataclass(frozen=True, slots=True)
class VolumeDriverConfig:
    """The driver that a new volume gets."""

    name: str = api("Name", TEXT, omit=True)
    options: dict[str, str] | None = api("Options", TEXT_MAP, omit=True)


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    """Options of a volume mount."""

    no_copy: bool = api("NoCopy", FLAG, omit=True)
    labels: dict[str, str] | None = api("Labels", TEXT_MAP, omit=True)
    subpath: str = api("Subpath", TEXT, omit=True)
    driver_config: VolumeDriverConfig | None = api(
        "DriverConfig", one(VolumeDriverConfig), omit=True
    )


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Options of an image mount."""

    subpath: str = api("Subpath", TEXT, omit=True)


def _read_options(value: Any, where: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(item, list) for item in value):
        raise mismatch(value, where, "[][]string")
    return tuple(tuple(str(word) for word in item) for item in value)


_OPTION_LISTS = Kind(_read_options, None, lambda value: [list(item) for item in value or ()])


@dataclass(frozen=True, slots=True)
class TmpfsOptions:
    """Options of a tmpfs mount; ``size_bytes`` 0 means no limit, ``mode`` is an int of bits."""

    size_bytes: int = api("SizeBytes", INTEGER, omit=True)
    mode: int = api("Mode", INTEGER, omit=True)
    options: tuple[tuple[str, ...], ...] | None = api("Options", _OPTION_LISTS, omit=True)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount that a client asked for."""

    type: str = api("Type", TEXT, omit=True)
    source: str = api("Source", TEXT, omit=True)
    target: str = api("Target", TEXT, omit=True)
    read_only: bool = api("ReadOnly", FLAG, omit=True)
    consistency: str = api("Consistency", TEXT, omit=True)
    bind_options: BindOptions | None = api("BindOptions", one(BindOptions), omit=True)
    volume_options: VolumeOptions | None = api("VolumeOptions", one(VolumeOptions), omit=True)
    image_options: ImageOptions | None = api("ImageOptions", one(ImageOptions), omit=True)
    tmpfs_options: TmpfsOptions | None = api("TmpfsOptions", one(TmpfsOptions), omit=True)
    cluster_options: dict[str, str] | None = api("ClusterOptions", TEXT_MAP, omit=True)
