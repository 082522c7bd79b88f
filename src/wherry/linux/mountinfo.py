"""Reading /proc/PID/mountinfo, proc_pid_mountinfo(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountInfo:
    """One line of mountinfo."""

    id: int
    parent: int
    root: str
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    kind: str
    source: str
    super_options: tuple[str, ...]


def _unescape(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field) if "\\" in field else field


def parse_line(line: str) -> MountInfo:
    """Parse one line: ``36 35 98:0 /root /target rw,noatime master:1 - ext3 /dev/x rw``."""
    head, _, tail = line.rstrip("\n").partition(" - ")
    fields = head.split(" ")
    kind, source, super_options = (*tail.split(" ", 2), "", "")[:3]
    return MountInfo(
        id=int(fields[0]),
        parent=int(fields[1]),
        root=_unescape(fields[3]),
        target=_unescape(fields[4]),
        options=tuple(fields[5].split(",")),
        propagation=tuple(fields[6:]),
        kind=kind,
        source=_unescape(source),
        super_options=tuple(super_options.split(",")),
    )


def read(pid: int | str = "self") -> Iterator[MountInfo]:
    """The mounts that ``pid`` sees, in mount order."""
    with open(f"/proc/{pid}/mountinfo", errors="surrogateescape") as file:
        for line in file:
            yield parse_line(line)


def of_path(path: str) -> MountInfo:
    """The mount on which ``path`` lies; of several at one place the last, which covers the rest."""
    real = os.path.realpath(path)
    best: MountInfo | None = None
    for mount in read():
        inside = real == mount.target or real.startswith(mount.target.rstrip("/") + "/")
        if inside and (best is None or len(mount.target) >= len(best.target)):
            best = mount
    if best is None:
        raise FileNotFoundError(f"no mount holds {path}")
    return best
