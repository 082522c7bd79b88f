"""Facts of the host that a forked shim inherits instead of asking for them again."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wherry.linux import capabilities
from wherry.runtime import reaper


@dataclass(frozen=True, slots=True)
class Host:
    """``binary`` is the interpreter's file: no container may execute it. ``reaper`` is --init's."""

    binary: os.stat_result | None
    last_capability: int
    reaper: bytes = b""


def look(init: str = "") -> Host:
    """Look at this host once; ``init`` is a program to use instead of the built-in reaper."""
    program = reaper.read_program(init)
    return Host(os.stat("/proc/self/exe"), capabilities.last_capability(), program)
