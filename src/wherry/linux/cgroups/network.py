"""The net_cls and net_prio controllers of v1; v2 has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wherry.linux.cgroups.files import Setting

NAME_CLASS = "net_cls"
NAME_PRIORITY = "net_prio"


def class_settings(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources.network.classID``."""
    class_id = (resources.get("network") or {}).get("classID")
    return [Setting("net_cls.classid", str(class_id))] if class_id else []


def priority_settings(resources: Mapping[str, Any]) -> list[Setting]:
    """Writes for ``linux.resources.network.priorities``."""
    entries = (resources.get("network") or {}).get("priorities") or ()
    return [Setting("net_prio.ifpriomap", f"{e['name']} {e['priority']}") for e in entries]
