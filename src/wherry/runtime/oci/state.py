"""What is known of a container between two commands: a folder with a small record each."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from wherry.errors import Conflict, InvalidParameter, NotFound
from wherry.linux.cgroups import Cgroup

DEFAULT_ROOT = "/run/wherry-oci"
OCI_VERSION = "1.2.0"

_NAME = re.compile(r"[A-Za-z0-9_+.-]{1,1024}")
_RECORD = "state.json"
_GATE = "start.sock"


@dataclass(frozen=True, slots=True)
class Container:
    """A container's record. ``born`` is the first process's start time in clock ticks."""

    id: str
    folder: str
    bundle: str
    rootfs: str
    pid: int
    born: int
    created: str
    cgroup: str
    join_flags: int
    terminal: bool
    seccomp: str | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def gate(self) -> str:
        """The socket where `start` is said; it is there until that happened."""
        return f"{self.folder}/{_GATE}"

    def status(self) -> str:
        """``created``, ``running``, ``paused`` or ``stopped``, as the kernel has it now."""
        if start_time(self.pid) != self.born:
            return "stopped"
        if os.path.exists(self.gate):
            return "created"
        return "paused" if Cgroup(self.cgroup).frozen() else "running"

    def view(self) -> dict[str, Any]:
        """The state as the OCI runtime-spec defines it, with the fields that runc adds."""
        status = self.status()
        return {
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "pid": 0 if status == "stopped" else self.pid,
            "status": status,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": self.created,
            "owner": "",
            **({"annotations": self.annotations} if self.annotations else {}),
        }

    def spec(self) -> dict[str, Any]:
        """The config.json that it was made from."""
        with open(f"{self.folder}/config.json") as file:
            spec: dict[str, Any] = json.load(file)
        return spec

    def save(self) -> None:
        """Write the record."""
        temporary = f"{self.folder}/{_RECORD}.tmp"
        with open(temporary, "w") as file:
            json.dump(asdict(self), file)
        os.rename(temporary, f"{self.folder}/{_RECORD}")

    def with_process(self, pid: int, join_flags: int) -> Container:
        """The record once the first process exists."""
        return replace(self, pid=pid, born=start_time(pid) or 0, join_flags=join_flags)

    def forget(self) -> None:
        """Remove the record."""
        shutil.rmtree(self.folder, ignore_errors=True)


def start_time(pid: int) -> int | None:
    """When a living process began, in clock ticks since boot; None for one that has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def make_folder(root: str, container: str) -> str:
    """A new container's folder; raises `Conflict` when the name is taken."""
    if not _NAME.fullmatch(container) or container in (".", ".."):
        raise InvalidParameter(f"invalid container ID format: {container!r}")
    os.makedirs(root, mode=0o711, exist_ok=True)
    folder = os.path.join(root, container)
    try:
        os.mkdir(folder, 0o711)
    except FileExistsError:
        raise Conflict("container with given ID already exists") from None
    return folder


def load(root: str, container: str) -> Container:
    """A container by its name; raises `NotFound`."""
    if not _NAME.fullmatch(container) or container in (".", ".."):
        raise InvalidParameter(f"invalid container ID format: {container!r}")
    try:
        with open(os.path.join(root, container, _RECORD)) as file:
            return Container(**json.load(file))
    except FileNotFoundError:
        raise NotFound("container does not exist") from None


def everyone(root: str) -> Iterator[Container]:
    """All containers, by name."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    for name in names:
        try:
            yield load(root, name)
        except NotFound:
            continue
