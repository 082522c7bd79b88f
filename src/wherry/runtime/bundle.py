"""What the runtime is told about a container, and what it leaves behind when it has ended."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from wherry.errors import WherryError
from wherry.linux.root import DirectoryRoot, OverlayRoot, Root

_EXIT_FILE = "exit.json"


class StartFailed(WherryError):
    """A process could not be started.

    ``step``, ``path`` and ``errno`` say what failed on what and why; ``exit_code`` is what a
    command line reports: 127 not found, 126 not executable, 125 anything else.
    """

    def __init__(
        self, message: str, step: str, path: str = "", errno: int = 0, exit_code: int = 125
    ) -> None:
        super().__init__(message)
        self.step = step
        self.path = path
        self.errno = errno
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where output goes. ``max_size`` in bytes (-1: no rotation), ``max_file`` counts files.

    ``attributes`` are written into every entry; ``options`` are the driver's own. ``source``
    fills `wherry.runtime.logdrivers.record.LogSource` for the drivers that send to services.
    """

    driver: str = "json-file"
    path: str = ""
    max_size: int = -1
    max_file: int = 1
    compress: bool = False
    attributes: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bundle:
    """One container.

    ``spec`` is an OCI runtime-spec config.json; ``linux.uidMappings`` turn the user namespace
    on. ``process.user`` may have, besides the ids, ``username`` ("name[:group]", looked up in
    the container's own files as Docker does) and ``groupAdd`` (names or ids).
    ``directory`` keeps exit.json, ``socket`` is the shim's control socket, ``cgroup`` is
    relative to each hierarchy, ``seccomp`` the path of a compiled filter. Without ``idmap`` only
    the mounts that ask for it are idmapped, as the OCI runtime-spec has it. ``runtime`` is the
    path of another OCI runtime; the spec must then hold all it needs, ``linux.seccomp`` too.
    """

    id: str
    spec: dict[str, Any]
    root: Root
    directory: str
    socket: str
    cgroup: str
    log: LogConfig = LogConfig()
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    init: bool = False
    seccomp: str | None = None
    idmap: bool = True
    runtime: str = ""

    def head(self) -> dict[str, Any]:
        """What the shim itself has to know of it."""
        names = ("id", "directory", "socket", "cgroup", "tty", "open_stdin", "stdin_once")
        head: dict[str, Any] = {
            name: getattr(self, name) for name in (*names, "seccomp", "runtime")
        }
        return {**head, "log": asdict(self.log)}

    def to_json(self) -> dict[str, Any]:
        """A form that survives `json.dumps` and `from_json`."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        kind = "overlay" if isinstance(self.root, OverlayRoot) else "directory"
        values["root"] = {"kind": kind, **asdict(self.root)}
        values["log"] = asdict(self.log)
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Bundle:
        """The inverse of `to_json`."""
        given = dict(values["root"])
        root: Root
        if given.pop("kind") == "overlay":
            root = OverlayRoot(tuple(given["lowers"]), given["upper"], given["work"])
        else:
            root = DirectoryRoot(given["path"])
        return cls(**{**values, "root": root, "log": LogConfig(**values["log"])})


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: 128+n for signal n. ``at`` is unix time, ``error`` why none was run."""

    code: int
    at: float
    oom_killed: bool = False
    error: str = ""


def write_exit(directory: str, status: ExitStatus) -> None:
    """Record the end of a container so that a crash of anything cannot lose or tear it."""
    path = f"{directory}/{_EXIT_FILE}"
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(asdict(status)).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_exit(directory: str) -> ExitStatus | None:
    """The recorded end of the container of ``directory``; None while it has not ended."""
    try:
        with open(f"{directory}/{_EXIT_FILE}") as file:
            return ExitStatus(**json.load(file))
    except FileNotFoundError:
        return None


def clear_exit(directory: str) -> None:
    """Forget a former run."""
    try:
        os.unlink(f"{directory}/{_EXIT_FILE}")
    except FileNotFoundError:
        return
