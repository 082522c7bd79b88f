"""Comparing what the kernel holds before and after: mounts, namespaces, cgroups, links, processes.

``with no_leaks("wherry-test-abc"):`` fails when something remains that was not there before.
Only what names the marker counts where other work goes on at the same time; without a marker
everything counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path

from wherry.linux.cgroups import discover

_PATIENCE = 5.0  # the kernel takes namespaces and links down in its own time


@dataclass(frozen=True)
class Snapshot:
    """What is there now."""

    mounts: frozenset[str]
    namespaces: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]


def snapshot(marker: str = "", folders: tuple[str, ...] = ()) -> Snapshot:
    """What the kernel holds now, of what names ``marker``; and what lies in ``folders``."""
    return Snapshot(
        mounts=_mounts(marker),
        namespaces=_namespaces(marker),
        cgroups=_cgroups(marker),
        links=frozenset(os.listdir("/sys/class/net")) if not marker else frozenset(),
        processes=_processes(marker),
        files=frozenset(str(p) for folder in folders for p in Path(folder).iterdir()),
    )


def _mounts(marker: str) -> frozenset[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return frozenset(line.split(" ", 2)[2] for line in lines if marker in line)


def _pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _belongs(pid: str, marker: str) -> bool:
    if not marker:
        return True
    return marker in _read(f"/proc/{pid}/cgroup") or marker in _read(f"/proc/{pid}/cmdline")


def _namespaces(marker: str) -> frozenset[str]:
    """Those that processes live in; one without processes is held by a mount, seen above."""
    found = set()
    for pid in _pids():
        if not _belongs(pid, marker):
            continue
        for kind in ("mnt", "net", "pid", "ipc", "uts", "user", "cgroup"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                continue
    return frozenset(found)


def _cgroups(marker: str) -> frozenset[str]:
    found = set()
    pending = list(discover().hierarchies())
    while pending:
        folder = pending.pop()
        if marker in folder:
            found.add(folder)
        # One that is gone meanwhile, or deeper than a path, is passed over.
        with suppress(OSError), os.scandir(folder) as entries:
            pending += (one.path for one in entries if one.is_dir(follow_symlinks=False))
    return frozenset(found)


def _processes(marker: str) -> frozenset[str]:
    found = set()
    for pid in _pids():
        if _belongs(pid, marker):
            name = _read(f"/proc/{pid}/comm").strip()
            if name and not name.startswith("kworker"):
                found.add(f"{pid} {name}")
    return frozenset(found)


def added(before: Snapshot, after: Snapshot) -> dict[str, list[str]]:
    """What ``after`` has more than ``before``, by kind."""
    result = {}
    for field in fields(Snapshot):
        more = getattr(after, field.name) - getattr(before, field.name)
        if more:
            result[field.name] = sorted(more)
    return result


@contextmanager
def no_leaks(marker: str = "", folders: tuple[str, ...] = ()) -> Iterator[None]:
    """Fail when the block leaves something behind."""
    before = snapshot(marker, folders)
    yield
    deadline = time.monotonic() + _PATIENCE
    while leaked := added(before, snapshot(marker, folders)):
        if time.monotonic() > deadline:
            raise AssertionError(f"left behind: {leaked}")
        time.sleep(0.05)
