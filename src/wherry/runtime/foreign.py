"""Containers through another OCI runtime (runc, crun, …), behind the same shim.

The shim keeps stdio, log, exit status and control socket; the program makes the processes. The
container's root is mounted for it in the host's mount namespace and unmounted at the end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Sequence
from typing import Any

from wherry.errors import KernelError
from wherry.fs.opening import open_in_root
from wherry.linux import mountinfo, mounts, process
from wherry.linux.root import OverlayRoot
from wherry.runtime import identity, reaper, spawn
from wherry.runtime.backend import Started
from wherry.runtime.bundle import Bundle, StartFailed
from wherry.runtime.control import in_folder
from wherry.runtime.messages import Message
from wherry.runtime.rootbuild import part_of
from wherry.runtime.rootplan import layers_entry

_LARGEST_FILE = 16 << 20
_VERSION = "1.0.2"
"""Every runtime takes this version; some refuse newer ones that add nothing used here."""


class ForeignRuntime:
    """One container of the program ``container["runtime"]``; ``init`` is the program of --init."""

    def __init__(self, container: Message, init: bytes = b"") -> None:
        self._init = init
        self._program: str = container["runtime"]
        self._id: str = container["id"]
        self._folder = f"{container['directory']}/oci"
        self._state = f"{os.path.dirname(container['socket'])}/oci"
        self._bundle: Bundle
        self._ends: list[int] = []

    @property
    def _rootfs(self) -> str:
        return f"{self._folder}/rootfs"

    def begin(self, bundle: bytes) -> None:
        """Nothing runs ahead of time."""
        self._bundle = Bundle.from_json(json.loads(bundle))

    def finish(self) -> spawn.Spawned:
        """Mount the root, write config.json, call ``create``."""
        self.clean()
        os.makedirs(self._rootfs, 0o700)
        os.makedirs(self._state, 0o700, exist_ok=True)
        with contextlib.ExitStack() as undo:
            undo.callback(self.clean)
            self._mount()
            spec = self._config()
            with open(f"{self._folder}/config.json", "w") as file:
                json.dump(spec, file)
            self._ends = self._create()
            with open(f"{self._folder}/pid") as file:
                pid = int(file.read())
            undo.pop_all()
        flags = 0
        for entry in spec["linux"].get("namespaces") or ():
            flags |= process.NAMESPACES.get(entry["type"], 0)
        return spawn.Spawned(pid, os.pidfd_open(pid), None, flags, [])

    def _mount(self) -> None:
        root = self._bundle.root
        if isinstance(root, OverlayRoot):
            options = (
                *(f"lowerdir+={path}" for path in root.lowers),
                f"upperdir={root.upper}",
                f"workdir={root.work}",
                "userxattr",
            )
            tree = mounts.new_filesystem("overlay", options, source="overlay")
        else:
            tree = mounts.open_tree(root.path, recursive=True)
        _attach(tree, self._rootfs)

    def _mount_layers(self, entry: Message, place: str) -> Message:
        """An overlay of layers mounted at ``place`` on the host, and the bind of it."""
        found = layers_entry(entry)
        if found is None:
            return entry
        lowers, part = found
        if len(lowers) == 1:
            tree = mounts.open_tree(lowers[0], recursive=False)
        else:
            options = (*(f"lowerdir+={path}" for path in lowers), "userxattr")
            tree = mounts.new_filesystem("overlay", options, source="overlay")
        os.mkdir(place, 0o700)
        _attach(tree, place)
        whole = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        tree = part_of(whole, part)
        os.close(whole)
        if not stat.S_ISDIR(os.fstat(tree).st_mode):
            place = f"{place}.file"
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        _attach(tree, place)
        return {**entry, "type": "bind", "source": place, "options": ["bind", "rprivate", "ro"]}

    def _config(self) -> dict[str, Any]:
        """The spec as a stranger understands it."""
        bundle = self._bundle
        spec = {**bundle.spec, "ociVersion": _VERSION}
        spec["mounts"] = [
            self._mount_layers(entry, f"{self._folder}/mount-{number}")
            for number, entry in enumerate(spec["mounts"])
        ]
        spec["root"] = {**(spec.get("root") or {}), "path": self._rootfs}
        spec["linux"] = {**(spec.get("linux") or {}), "cgroupsPath": bundle.cgroup}
        spec["process"] = self._process(spec["process"], bundle.tty)
        if bundle.init:
            path = f"{self._folder}/init"
            with open(path, "wb") as file:
                file.write(self._init)
            os.chmod(path, 0o755)
            entry = {"destination": reaper.NAME, "type": "bind", "source": path}
            spec["mounts"] = [*spec["mounts"], {**entry, "options": ["bind", "ro"]}]
            spec["process"]["args"] = [reaper.NAME, "--", *spec["process"]["args"]]
        return spec

    def _process(self, given: Message, tty: bool) -> dict[str, Any]:
        """An OCI process with names of users and groups turned into ids."""
        made = {**given, "terminal": tty}
        user = dict(given.get("user") or {})
        name, added = user.pop("username", ""), user.pop("groupAdd", [])
        if name or added:
            asked = name or f"{user.get('uid', 0)}:{user.get('gid', 0)}"
            found = identity.resolve(asked, added, self._entries)
            extra = [*found.groups, *(user.get("additionalGids") or ())]
            user = {"uid": found.uid, "gid": found.gid, "additionalGids": extra}
        made["user"] = user
        return made

    def _entries(self, path: str) -> list[list[str]]:
        """Entries of the container's passwd or group file, looked up inside its root only."""
        root = os.open(self._rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except KernelError:
            return []
        finally:
            os.close(root)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return []
            return identity.parse_entries(file.read(_LARGEST_FILE))

    def _create(self) -> list[int]:
        arguments = ["create", "--bundle", self._folder, "--pid-file", f"{self._folder}/pid"]
        bundle = self._bundle
        with _Stdio(self._folder, bundle.tty, bundle.open_stdin) as stdio:
            self._call([*arguments, *stdio.flags, self._id], stdio.fds)
            return stdio.take()

    def wait_ready(self) -> list[int]:
        """``create`` has done all that."""
        return self._ends

    def release(self) -> None:
        """Call ``start``."""
        self._call(["start", self._id])

    def execute(self, request: Message) -> Started:
        """Call ``exec``."""
        tty = bool(request.get("tty"))
        place = f"{self._folder}/exec-{os.urandom(6).hex()}"
        os.mkdir(place, 0o700)
        try:
            with open(f"{place}/process.json", "w") as file:
                json.dump(self._process(request["process"], tty), file)
            arguments = ["exec", "--detach", "--process", f"{place}/process.json"]
            arguments += ["--pid-file", f"{place}/pid"]
            with _Stdio(place, tty, bool(request.get("stdin"))) as stdio:
                self._call([*arguments, *stdio.flags, self._id], stdio.fds)
                ends = stdio.take()
            with open(f"{place}/pid") as file:
                pid = int(file.read())
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return Started(pid, os.pidfd_open(pid), ends)

    def _call(self, arguments: Sequence[str], stdio: Sequence[int] | None = None) -> None:
        log = f"{self._folder}/log.json"
        command = [self._program, "--root", self._state, "--log", log, "--log-format", "json"]
        null = subprocess.DEVNULL
        stdin, stdout, stderr = stdio or (null, null, null)
        try:
            done = subprocess.run(
                [*command, *arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                check=False,
                preexec_fn=process.reset_signals,  # a container would inherit the shim's
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            message = f"runtime {self._program}: {reason}"
            raise StartFailed(message, "runtime", self._program, error.errno or 0) from None
        if done.returncode:
            raise _failure(arguments[0], _last_message(log))

    def clean(self) -> None:
        """Call ``delete`` if the runtime knows the container, and unmount its root."""
        if os.path.isdir(f"{self._state}/{self._id}"):
            with contextlib.suppress(StartFailed):
                self._call(["delete", "--force", self._id])
        clear_folder(self._folder)


def clear_folder(folder: str) -> None:
    """Unmount all that is mounted in a container's runtime folder and remove the folder."""
    inside = f"{folder}/"
    for mount in reversed(list(mountinfo.read())):
        if mount.target.startswith(inside):
            with contextlib.suppress(KernelError):
                mounts.unmount(mount.target, mounts.MNT_DETACH)
    with contextlib.suppress(OSError):
        os.rmdir(f"{folder}/rootfs")  # fails while anything is mounted: then nothing is removed
        shutil.rmtree(folder)


def _attach(tree: int, place: str) -> None:
    """Attach a detached mount at a host path and close it."""
    target = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        mounts.move_mount(tree, target, place)
    finally:
        os.close(target)
        os.close(tree)


class _Stdio:
    """Stdio for a process that somebody else starts: pipes, or a console socket."""

    def __init__(self, folder: str, tty: bool, open_stdin: bool) -> None:
        self.flags: list[str] = []
        self.fds: list[int] | None = None
        self._ends: list[int] = []
        self._listener: socket.socket | None = None
        if tty:
            path = f"{folder}/console.sock"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            place, name = in_folder(path)
            self._listener.bind(name)
            os.close(place)
            self._listener.listen(1)
            self.flags = ["--console-socket", path]
            return
        if open_stdin:
            stdin, feed = os.pipe()
            self._ends.append(feed)
        else:
            stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        out, stdout = os.pipe()
        err, stderr = os.pipe()
        self._ends += [out, err]
        self.fds = [stdin, stdout, stderr]

    def __enter__(self) -> _Stdio:
        return self

    def take(self) -> list[int]:
        """The outer ends, once the process has been made."""
        if self._listener is None:
            ends, self._ends = self._ends, []
            return ends
        self._listener.settimeout(10)
        connection, _ = self._listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        return list(fds)

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.close()
        for fd in (*(self.fds or ()), *self._ends):
            os.close(fd)


def _last_message(log: str) -> str:
    """The last error that a runtime wrote to its log."""
    message = ""
    try:
        with open(log) as file:
            for line in file:
                entry = json.loads(line)
                if entry.get("level") in ("error", "fatal"):
                    message = entry.get("msg") or message
    except (OSError, ValueError):
        pass
    return message


def _failure(command: str, message: str) -> StartFailed:
    if "executable file not found" in message or "no such file or directory" in message:
        return StartFailed(message, command, errno=errno.ENOENT, exit_code=127)
    if "permission denied" in message or "is a directory" in message:
        return StartFailed(message, command, errno=errno.EACCES, exit_code=126)
    return StartFailed(message or f"the runtime's {command} failed", command)
