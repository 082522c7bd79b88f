"""The rdma controller, the same on v1 and v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wherry.linux.cgroups.files import Setting

NAME = "rdma"


def settings(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources``."""
    result = []
    for device, limits in (resources.get("rdma") or {}).items():
        handles = limits.get("hcaHandles", "max")
        objects = limits.get("hcaObjects", "max")
        result.append(Setting("rdma.max", f"{device} hca_handle={handles} hca_object={objects}"))
    return result
