"""The hugetlb controller: limits of huge pages by page size (``2MB``, ``1GB``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wherry.linux.cgroups.files import Setting

NAME = "hugetlb"


def settings_v1(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v1."""
    return [
        Setting(f"hugetlb.{entry['pageSize']}.limit_in_bytes", str(entry["limit"]))
        for entry in resources.get("hugepageLimits") or ()
    ]


def settings_v2(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources`` on cgroup v2."""
    return [
        Setting(f"hugetlb.{entry['pageSize']}.max", str(entry["limit"]))
        for entry in resources.get("hugepageLimits") or ()
    ]
