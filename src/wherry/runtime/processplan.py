"""A process as the OCI spec describes it, parsed and checked before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.errors import InvalidParameter
from wherry.linux import capabilities, rlimits

_MAX_ID = 2**32 - 2  # 2**32-1 means "leave as it is" to setresuid(2)


@dataclass(frozen=True, slots=True)
class CapabilitySets:
    """Bit masks."""

    bounding: int
    effective: int
    permitted: int
    inheritable: int
    ambient: int


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """What init or an exec does between joining the namespaces and execve.

    ``username`` and ``group_add`` are looked up in the container's files. ``keep`` counts the
    descriptors from 3 on that the process inherits. ``orphan`` lets it outlive its parent.
    """

    argv: tuple[str, ...]
    environment: tuple[str, ...]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    username: str
    group_add: tuple[str, ...]
    umask: int | None
    capabilities: CapabilitySets | None
    no_new_privileges: bool
    limits: tuple[rlimits.Limit, ...]
    oom_score: int | None
    apparmor: str
    selinux: str
    rows: int
    columns: int
    seccomp: bytes = b""
    keep: int = 0
    init: bool = False
    orphan: bool = False


def parse_process(
    process: Mapping[str, Any], seccomp: bytes = b"", *, init: bool = False
) -> ProcessPlan:
    """The plan for an OCI ``process`` object; raises `InvalidParameter` for what cannot be."""
    user = process.get("user") or {}
    sets = process.get("capabilities")
    cwd = process.get("cwd") or "/"
    if not cwd.startswith("/"):
        raise InvalidParameter(f"working directory is not an absolute path: {cwd!r}")
    if not process.get("args"):
        raise InvalidParameter("no command specified")
    size = process.get("consoleSize") or {}
    return ProcessPlan(
        argv=tuple(process["args"]),
        environment=tuple(process.get("env") or ()),
        cwd=cwd,
        uid=_identity("user", user.get("uid")),
        gid=_identity("group", user.get("gid")),
        groups=tuple(_identity("group", gid) for gid in user.get("additionalGids") or ()),
        username=user.get("username") or "",
        group_add=tuple(user.get("groupAdd") or ()),
        umask=user.get("umask"),
        capabilities=None if sets is None else _capabilities(sets),
        no_new_privileges=bool(process.get("noNewPrivileges")),
        limits=tuple(rlimits.parse(process.get("rlimits") or [])),
        oom_score=process.get("oomScoreAdj"),
        apparmor=process.get("apparmorProfile") or "",
        selinux=process.get("selinuxLabel") or "",
        rows=size.get("height") or 0,
        columns=size.get("width") or 0,
        seccomp=seccomp,
        init=init,
    )


def _identity(kind: str, value: object) -> int:
    number = int(str(value)) if value is not None else 0
    if not 0 <= number <= _MAX_ID:
        raise InvalidParameter(f"{kind} id is out of range: {value}")
    return number


def _capabilities(sets: Mapping[str, list[str]]) -> CapabilitySets:
    return CapabilitySets(
        *(
            capabilities.mask(sets.get(name) or ())
            for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
        )
    )
