"""Which program runs a container: Wherry itself, or another OCI runtime by name."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from wherry.errors import InvalidParameter

OWN = ("", "wherry", "io.containerd.runc.v2")
"""Names that mean Wherry's own runtime."""

KNOWN = ("runc", "crun", "youki", "runsc")
"""Runtimes that are found by their name when they are installed."""


def program(name: str, configured: Mapping[str, Mapping[str, Any]]) -> str:
    """The path of a runtime's program, "" for Wherry's own; raises InvalidParameter.

    ``runc`` is what many files say that mean "the default one": without it Wherry's own is used.
    """
    if name in OWN:
        return ""
    if name in configured:
        return str(configured[name].get("path") or name)
    found = shutil.which(name) if name in KNOWN else None
    if name == "runc" and found is None:
        return ""
    if found is None:
        raise InvalidParameter(f"unknown or invalid runtime name: {name}")
    return found
