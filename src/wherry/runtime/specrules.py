"""What a spec may ask for, given the namespaces that it has for itself: judged before any effect.

A host name, a kernel parameter or an id map belongs to a namespace; without one of its own a
container would change the host's. The rules and their words are those of the OCI runtime-spec
and of runc, whose callers read them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from wherry.errors import InvalidParameter
from wherry.linux.process import NAMESPACE_FILES, NAMESPACES

_IPC_SYSCTLS = frozenset(
    f"kernel/{name}"
    for name in (
        *("msgmax", "msgmnb", "msgmni", "sem", "shmall"),
        *("shmmax", "shmmni", "shm_rmid_forced"),
    )
)
_UTS_SYSCTLS = frozenset({"kernel/hostname", "kernel/domainname"})

_UNSUPPORTED = {
    "linux": ("intelRdt", "memoryPolicy", "netDevices", "personality", "timeOffsets"),
    "process": ("execCPUAffinity", "ioPriority", "scheduler"),
}
"""Fields that change what a process gets, and that this runtime would otherwise pass over."""

_MOUNT_FIELDS = ("maskedPaths", "readonlyPaths", "rootfsPropagation")


def private_namespaces(spec: Mapping[str, Any]) -> frozenset[str]:
    """The types of namespaces that the container does not share with this process.

    A path may name the very namespace that we live in: then it is not private. Paths that
    cannot be looked at count as private; to enter them will tell what is wrong.
    """
    entries = (spec.get("linux") or {}).get("namespaces") or ()
    return frozenset(e["type"] for e in entries if not _is_ours(e["type"], e.get("path") or ""))


def _is_ours(kind: str, path: str) -> bool:
    if not path or kind not in NAMESPACE_FILES:
        return False
    try:
        return os.path.samestat(os.stat(path), os.stat(f"/proc/self/ns/{NAMESPACE_FILES[kind]}"))
    except OSError:
        return False


def check(spec: Mapping[str, Any], private: Collection[str]) -> None:
    """Raise InvalidParameter for the first thing that cannot be; ``private`` as above."""
    for problem in problems(spec, private):
        raise InvalidParameter(problem)


def problems(spec: Mapping[str, Any], private: Collection[str]) -> Iterator[str]:
    """Everything that is wrong with a spec; nothing is looked up."""
    yield from _namespaces(spec)
    yield from _names(spec, private)
    yield from _id_maps(spec, private)
    yield from _mounts(spec, private)
    for name in (spec.get("linux") or {}).get("sysctl") or ():
        yield from _sysctl(name, private)
    yield from _hooks(spec)
    for part, fields in _UNSUPPORTED.items():
        for field in fields:
            if (spec.get(part) or {}).get(field):
                yield f"{part}.{field} is not supported"


def _namespaces(spec: Mapping[str, Any]) -> Iterator[str]:
    kinds = [entry["type"] for entry in (spec.get("linux") or {}).get("namespaces") or ()]
    for kind in kinds:
        if kind not in NAMESPACES:
            yield f"unknown namespace type: {kind}"
        if kinds.count(kind) > 1:
            yield f"malformed spec file: duplicated ns {kind}"


def _names(spec: Mapping[str, Any], private: Collection[str]) -> Iterator[str]:
    for field in ("hostname", "domainname"):
        if spec.get(field) and "uts" not in private:
            yield f"unable to set {field} without a private UTS namespace"


def _id_maps(spec: Mapping[str, Any], private: Collection[str]) -> Iterator[str]:
    linux = spec.get("linux") or {}
    made = any(
        entry["type"] == "user" and not entry.get("path") for entry in linux.get("namespaces") or ()
    )
    for field in ("uidMappings", "gidMappings"):
        entries = linux.get(field) or ()
        if entries and "user" not in private:
            yield f"{field} specified, but USER namespace isn't enabled in the config"
        if made and not any(e["containerID"] == 0 and e["size"] > 0 for e in entries):
            yield f"user namespaces enabled, but {field} has no entry for root"


def _mounts(spec: Mapping[str, Any], private: Collection[str]) -> Iterator[str]:
    """All that is done to the root is done in a mount namespace."""
    if "mount" in private:
        return
    linux = spec.get("linux") or {}
    yield "a container needs a mount namespace of its own"
    if any(linux.get(field) for field in _MOUNT_FIELDS):
        yield "unable to restrict sys entries without a private MNT namespace"


def sysctl_path(name: str) -> str:
    """The path of a kernel parameter below /proc/sys, as sysctl(8) reads names.

    Where the first separator is a dot, dots and slashes change places. Raises InvalidParameter
    for what would lead elsewhere.
    """
    dotted = next((letter for letter in name if letter in "./"), ".") == "."
    path = name.translate(str.maketrans("./", "/.")) if dotted else name
    if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise InvalidParameter(f"invalid sysctl name: {name!r}")
    return path


def _sysctl(name: str, private: Collection[str]) -> Iterator[str]:
    path = sysctl_path(name)
    if path in _IPC_SYSCTLS or path.startswith("fs/mqueue/"):
        if "ipc" not in private:
            yield f"sysctl {name!r} is not allowed in the hosts ipc namespace"
    elif path.startswith("net/"):
        if "network" not in private:
            yield f"sysctl {name!r} not allowed in host network namespace"
    elif path in _UTS_SYSCTLS:
        if "uts" not in private:
            yield f"sysctl {name!r} is not allowed in the hosts uts namespace"
    else:
        yield f"sysctl {name!r} is not in a separate kernel namespace"


def _hooks(spec: Mapping[str, Any]) -> Iterator[str]:
    for kind, entries in (spec.get("hooks") or {}).items():
        for hook in entries or ():
            if not str(hook.get("path") or "").startswith("/"):
                yield f"{kind} hook: path is not absolute: {hook.get('path')!r}"
