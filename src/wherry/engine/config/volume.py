# ruff: noqa: RUF009 (api() makes a dataclass field)
"""Body of ``POST /volumes/create`` (API 1.51, VolumeCreateOptions)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.engine.config.codec import OBJECT, TEXT, TEXT_MAP, api


@dataclass(frozen=True, slots=True)
class VolumeCreate:
    """A volume that is to be made, or found by its name and driver."""

    name: str = api("Name", TEXT)
    driver: str = api("Driver", TEXT)
    driver_opts: dict[str, str] | None = api("DriverOpts", TEXT_MAP)
    labels: dict[str, str] | None = api("Labels", TEXT_MAP)
    cluster_volume_spec: Mapping[str, Any] | None = api("ClusterVolumeSpec", OBJECT)
