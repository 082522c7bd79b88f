"""``create``: everything up to the point where only the program itself is missing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wherry.errors import Conflict, InvalidParameter, WherryError
from wherry.linux import cgroups, seccomp
from wherry.linux.cgroups import Cgroup
from wherry.linux.root import DirectoryRoot
from wherry.runtime import host, spawn
from wherry.runtime.bundle import Bundle
from wherry.runtime.control import in_folder
from wherry.runtime.oci import console, hooks
from wherry.runtime.oci.state import OCI_VERSION, Container, make_folder

_DEVICES = [
    *({"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")),
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
]
"""Devices that every container may use, runtime-spec "Default Devices"."""


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """The flags of ``create`` and ``run``."""

    bundle: str
    pid_file: str = ""
    console_socket: str = ""
    preserve_fds: int = 0
    systemd_cgroup: bool = False


def read_spec(bundle: str) -> dict[str, Any]:
    """The config.json of a bundle, checked as far as every command needs it."""
    path = f"{bundle}/config.json"
    try:
        with open(path) as file:
            spec = json.load(file)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise InvalidParameter(f"JSON specification file {path}: {reason}") from None
    except ValueError as error:
        raise InvalidParameter(f"JSON specification file {path}: {error}") from None
    version = str(spec.get("ociVersion") or "")
    if version.split(".")[0] != "1":
        raise InvalidParameter(f"unsupported spec version: {version!r}")
    if not (spec.get("root") or {}).get("path"):
        raise InvalidParameter("Root path is required")
    if not spec.get("process"):
        raise InvalidParameter("process property must not be empty")
    return dict(spec)


def cgroup_path(spec: dict[str, Any], container: str, systemd: bool) -> str:
    """Where the container's cgroup lies; a systemd triple becomes the path of its scope."""
    path = (spec.get("linux") or {}).get("cgroupsPath") or ""
    if systemd and path.count(":") == 2:
        group, prefix, name = path.split(":")
        scope = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
        path = f"{_slice_path(group or 'system.slice')}/{scope}"
    elif not path:
        path = f"/wherry-oci/{container}"
    elif not path.startswith("/"):
        path = f"/wherry-oci{cgroups.clean(path)}"
    return cgroups.clean(path)


def _slice_path(name: str) -> str:
    """``a-b.slice`` lies in ``a.slice``: systemd.slice(5)."""
    parts = name.removesuffix(".slice").split("-")
    names = ["-".join(parts[: depth + 1]) + ".slice" for depth in range(len(parts))]
    return "/" + "/".join(names)


def create(root: str, container: str, options: CreateOptions) -> tuple[Container, int]:
    """Make a container; the result is its record and, with a terminal nobody took, the master."""
    bundle_path = os.path.abspath(options.bundle)
    spec = read_spec(bundle_path)
    spawn.parse_namespaces(spec)
    terminal = bool(spec["process"].get("terminal"))
    if terminal != bool(options.console_socket) and options.console_socket:
        raise InvalidParameter("cannot use console socket if the process has no terminal")
    rootfs = os.path.normpath(os.path.join(bundle_path, spec["root"]["path"]))
    if not os.path.isdir(rootfs):
        raise InvalidParameter(f"rootfs is not a folder: {rootfs}")
    cgroup = Cgroup(cgroup_path(spec, container, options.systemd_cgroup))
    with contextlib.ExitStack() as undo:
        folder = make_folder(root, container)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        if others := cgroup.pids():  # they would be killed with the container
            raise Conflict(f"container's cgroup is not empty: {len(others)} process(es) found")
        with open(f"{folder}/config.json", "w") as file:
            json.dump(spec, file)
        record = Container(
            id=container,
            folder=folder,
            bundle=bundle_path,
            rootfs=rootfs,
            pid=0,
            born=0,
            created=datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            cgroup=cgroup.path,
            join_flags=0,
            terminal=terminal,
            seccomp=_compile_seccomp(spec, folder),
            annotations=spec.get("annotations") or {},
        )
        maker = _Maker(record, spec, options)
        spawned = maker.begin()
        undo.callback(_undo, record.cgroup, spawned.pid)
        record = record.with_process(spawned.pid, spawned.join_flags)
        master = maker.finish(spawned)
        record.save()
        if options.pid_file:
            _write_pid(options.pid_file, spawned.pid)
        undo.pop_all()
    return record, master


class _Maker:
    """One creation: the bundle for the runtime, the hooks on the way, the terminal at the end."""

    def __init__(self, record: Container, spec: dict[str, Any], options: CreateOptions) -> None:
        self._record = record
        self._spec = spec
        self._options = options
        self._hooks = spec.get("hooks") or {}

    def _state(self, status: str, pid: int) -> dict[str, Any]:
        return {
            "ociVersion": OCI_VERSION,
            "id": self._record.id,
            "pid": pid,
            "status": status,
            "bundle": self._record.bundle,
            "annotations": self._record.annotations,
        }

    def _made(self, pid: int) -> None:
        for kind in ("prestart", "createRuntime"):
            hooks.run(kind, self._hooks, self._state("creating", pid))

    def _before_pivot(self) -> None:
        hooks.run("createContainer", self._hooks, self._state("creating", os.getpid()))

    def _before_execve(self) -> None:
        hooks.run("startContainer", self._hooks, self._state("created", os.getpid()))

    def begin(self) -> spawn.Spawned:
        """Make the first process."""
        record, spec = self._record, dict(self._spec)
        linux = dict(spec.get("linux") or {})
        resources = dict(linux.get("resources") or {})
        if resources.get("devices"):
            resources["devices"] = [*resources["devices"], *_DEVICES]
        spec["linux"] = {**linux, "resources": resources}
        environment = list(spec["process"].get("env") or ())
        if self._options.preserve_fds and not any(e.startswith("LISTEN_FDS=") for e in environment):
            environment.append(f"LISTEN_FDS={self._options.preserve_fds}")
        spec["process"] = {**spec["process"], "env": environment}
        bundle = Bundle(
            id=record.id,
            spec=spec,
            root=DirectoryRoot(record.rootfs),
            directory=record.folder,
            socket="",
            cgroup=record.cgroup,
            tty=record.terminal,
            seccomp=record.seccomp,
            idmap=False,
        )
        gate = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with gate:
            listen(gate, record.gate)
            extras = spawn.Extras(
                stdio=(0, 1, 2),
                gate=gate,
                keep=self._options.preserve_fds,
                made=self._made,
                before_pivot=self._before_pivot,
                before_execve=self._before_execve,
            )
            return spawn.spawn(bundle, host.look(), extras)

    def finish(self, spawned: spawn.Spawned) -> int:
        """Wait until the root is built; give the terminal away, or return its master (or -1)."""
        ready = spawn.wait_ready(spawned)
        if not self._record.terminal:
            return -1
        (master,) = ready.ends
        if self._options.console_socket:
            console.hand_over(self._options.console_socket, master)
            os.close(master)
            return -1
        return master


def listen(sock: socket.socket, path: str) -> None:
    """Listen at a path of any length."""
    folder, name = in_folder(path)
    try:
        sock.bind(name)
        sock.listen(1)
    finally:
        os.close(folder)


def _undo(cgroup: str, pid: int) -> None:
    spawn.kill(pid)
    with contextlib.suppress(WherryError):
        Cgroup(cgroup).remove()


def _write_pid(path: str, pid: int) -> None:
    temporary = f"{path}.tmp"
    with open(temporary, "w") as file:
        file.write(str(pid))
    os.rename(temporary, path)


def _compile_seccomp(spec: dict[str, Any], folder: str) -> str | None:
    profile = (spec.get("linux") or {}).get("seccomp")
    if not profile:
        return None
    capabilities = (spec["process"].get("capabilities") or {}).get("bounding") or ()
    path = f"{folder}/seccomp.bpf"
    with open(path, "wb") as file:
        file.write(seccomp.compile_profile(profile, capabilities))
    return path
