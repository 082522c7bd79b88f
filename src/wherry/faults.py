"""Fault points: places where tests make the engine die or fail.

``WHERRY_FAULT=point=kill`` ends the process with SIGKILL when it passes the point, as a crash
would; ``point=error`` makes the step fail. Each takes effect once. Without the variable a point
costs one comparison.
"""

from __future__ import annotations

import os
import signal

from wherry.errors import WherryError

POINTS = (
    "create.reserved",
    "create.rootfs",
    "create.recorded",
    "start.network",
    "start.spec",
    "start.shim",
    "start.attached",
    "start.executed",
    "start.recorded",
    "end.seen",
    "end.recorded",
    "end.shim-deleted",
    "end.network-released",
    "remove.marked",
    "remove.rootfs",
    "remove.directory",
    "remove.recorded",
)
"""Every point, in the order in which a container's life passes them."""

_armed = dict(
    part.partition("=")[::2] for part in os.environ.get("WHERRY_FAULT", "").split(",") if part
)


def point(name: str) -> None:
    """Pass a fault point; raises WherryError or ends the process when a test armed it."""
    if _armed and name in _armed:
        _strike(name, _armed.pop(name))


def arm(name: str, effect: str) -> None:
    """Arm a point from within the process; ``effect`` is ``kill`` or ``error``."""
    if name not in POINTS or effect not in ("kill", "error"):
        raise ValueError(f"no such fault: {name}={effect}")
    _armed[name] = effect


def _strike(name: str, effect: str) -> None:
    if effect == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise WherryError(f"fault injected at {name}")
