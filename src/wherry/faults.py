"""Fault points: places where tests make the engine die or fail.

``WHERRY_FAULT`` names a file. While that holds ``point=kill``, passing the point ends the process
with SIGKILL, as a crash would; ``point=error`` makes the step fail. Each takes effect once and
removes the file. Without the variable a point costs one comparison.
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
    "pause.frozen",
    "unpause.thawed",
    "update.applied",
    "rename.recorded",
    "exec.started",
    "kill.marked",
    "commit.frozen",
    "commit.layer",
    "copy.extracted",
    "connect.recorded",
    "volume.made",
)
"""Every point: those of a container's life in order, then those of single operations."""

_file = os.environ.get("WHERRY_FAULT", "")


def point(name: str) -> None:
    """Pass a fault point; raises WherryError or ends the process when a test armed it."""
    if _file:
        _strike(name)


def _strike(name: str) -> None:
    try:
        with open(_file) as file:
            armed, _, effect = file.read().strip().partition("=")
    except FileNotFoundError:
        return
    if armed != name:
        return
    os.unlink(_file)
    if effect == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise WherryError(f"fault injected at {name}")
