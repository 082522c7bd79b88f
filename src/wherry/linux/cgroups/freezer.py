"""Freezing: a controller on v1, a part of the core on v2."""

from __future__ import annotations

import time

from wherry.errors import KernelError
from wherry.linux.cgroups.files import reader, table, write

NAME = "freezer"
_PATIENCE = 10.0  # seconds


def set_frozen_v1(directory: str, frozen: bool) -> None:
    """Freeze or thaw. FREEZING may stick while tasks fork, so ask again until it is done."""
    wanted = "FROZEN" if frozen else "THAWED"
    read = reader(directory)
    deadline = time.monotonic() + _PATIENCE
    while True:
        write(directory, "freezer.state", wanted)
        for _ in range(20):
            if (read("freezer.state") or "").strip() == wanted:
                return
            time.sleep(0.0005)
        if time.monotonic() > deadline:
            if frozen:
                write(directory, "freezer.state", "THAWED")
            raise KernelError("freeze" if frozen else "thaw", directory, 110)


def set_frozen_v2(directory: str, frozen: bool) -> None:
    """Freeze or thaw, and wait until cgroup.events says so."""
    write(directory, "cgroup.freeze", str(int(frozen)))
    read = reader(directory)
    deadline = time.monotonic() + _PATIENCE
    while table(read("cgroup.events")).get("frozen", int(frozen)) != int(frozen):
        if time.monotonic() > deadline:
            write(directory, "cgroup.freeze", "0")
            raise KernelError("freeze" if frozen else "thaw", directory, 110)
        time.sleep(0.0005)
