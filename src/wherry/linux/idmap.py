"""User and group id maps of user namespaces, user_namespaces(7)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wherry.errors import KernelError


@dataclass(frozen=True, slots=True)
class IdRange:
    """``size`` ids from ``inside`` in the namespace are ids from ``outside`` on the host."""

    inside: int
    outside: int
    size: int

    @classmethod
    def parse(cls, entries: Sequence[Mapping[str, int]]) -> tuple[IdRange, ...]:
        """The ``uidMappings`` or ``gidMappings`` of an OCI spec."""
        return tuple(cls(e["containerID"], e["hostID"], e["size"]) for e in entries)


def to_host(ranges: Sequence[IdRange], inside: int) -> int | None:
    """The host id of an id in the namespace, or None when it has none."""
    for entry in ranges:
        if entry.inside <= inside < entry.inside + entry.size:
            return entry.outside + inside - entry.inside
    return None


def write_maps(pid: int, uids: Sequence[IdRange], gids: Sequence[IdRange]) -> None:
    """Give the new user namespace of ``pid`` its maps; needs privilege in the parent namespace."""
    for name, ranges in (("uid_map", uids), ("gid_map", gids)):
        lines = "".join(f"{r.inside} {r.outside} {r.size}\n" for r in ranges)
        path = f"/proc/{pid}/{name}"
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, lines.encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise KernelError("write id map", path, error.errno or 0) from error
