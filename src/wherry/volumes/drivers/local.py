"""The local driver: a folder on this host, or a mount described by options."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import threading
from collections.abc import Collection, Mapping
from typing import Any

from wherry.errors import InvalidParameter, KernelError
from wherry.fs.removing import remove_path
from wherry.linux import mountinfo, mounts, quota
from wherry.storage.sizes import parse_size
from wherry.volumes import mountoptions

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_DATA = "_data"
_ASIDE = ".removed-"
_FIRST_PROJECT = 0x57480000  # far from those that administrators choose


class LocalDriver:
    """Volumes below ``root``: ``<root>/<name>/_data``."""

    name = "local"
    scope = "local"

    def __init__(self, root: str) -> None:
        self._root = root
        self._projects = threading.Lock()
        os.makedirs(root, mode=0o701, exist_ok=True)

    def check(self, name: str, options: Mapping[str, str]) -> None:
        if len(name) == 1:
            raise InvalidParameter(
                f"create {name}: volume name is too short, names should be at least two"
                " alphanumeric characters"
            )
        if not _NAME.fullmatch(name) or len(name) > 255:
            raise InvalidParameter(
                f'create {name}: "{name}" includes invalid characters for a local volume name,'
                ' only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host'
                " directory, use absolute path"
            )
        try:
            mountoptions.check(options)
            if options.get("size") and parse_size(options["size"]):
                self._need_quotas()
        except InvalidParameter as error:
            raise InvalidParameter(f"create {name}: {error}") from None

    def _need_quotas(self) -> None:
        if not quota.enforced(self._root):
            raise InvalidParameter("quota size requested but no quota support")

    def create(self, name: str, options: Mapping[str, str]) -> None:
        folder = os.path.join(self._root, name)
        os.makedirs(folder, mode=0o701, exist_ok=True)
        try:
            os.mkdir(self.path(name), 0o755)
            os.chmod(self.path(name), 0o755)
        except FileExistsError:
            pass
        if options.get("size"):
            self._limit(self.path(name), parse_size(options["size"]))
        for path in (folder, self._root):
            _sync(path)

    def _limit(self, path: str, size: int) -> None:
        """Count an empty folder to a project of its own, which may hold ``size`` bytes."""
        with self._projects:
            project = quota.project_of(path)
            if project < _FIRST_PROJECT:
                project = _FIRST_PROJECT
                taken = {quota.project_of(self.path(name)) for name in self._names()}
                while project in taken or quota.usage(path, project) != (0, 0):
                    project += 1
                quota.assign(path, project)
            quota.limit(path, project, size)

    def _names(self) -> list[str]:
        """Volumes whose folder is there."""
        return [name for name in os.listdir(self._root) if os.path.isdir(self.path(name))]

    def remove(self, name: str, options: Mapping[str, str]) -> None:
        self.unmount(name, options)
        with contextlib.suppress(FileNotFoundError):
            os.rename(os.path.join(self._root, name), self._aside(name))

    def purge(self, name: str) -> None:
        self._purge(self._aside(name))

    def _purge(self, folder: str) -> None:
        """Delete the folder of a removed volume, and the limit that it had."""
        project = 0
        with contextlib.suppress(OSError):
            project = quota.project_of(os.path.join(folder, _DATA))
        with contextlib.suppress(KernelError):  # the next start tries again
            remove_path(folder)
        if project >= _FIRST_PROJECT:
            with contextlib.suppress(KernelError):
                quota.limit(self._root, project, 0)

    def recover(self, known: Collection[str]) -> None:
        kept = {self._aside(name): os.path.join(self._root, name) for name in known}
        for entry in os.scandir(self._root):
            if not entry.name.startswith(_ASIDE):
                continue
            if entry.path in kept and not os.path.exists(kept[entry.path]):
                os.rename(entry.path, kept[entry.path])
            else:
                self._purge(entry.path)

    def _aside(self, name: str) -> str:
        return os.path.join(self._root, _ASIDE + hashlib.sha256(name.encode()).hexdigest()[:32])

    def path(self, name: str) -> str:
        return os.path.join(self._root, name, _DATA)

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        path = self.path(name)
        if not mountoptions.is_mounted(options) or _is_mount_point(path):
            return path
        call = mountoptions.mount_call(options)
        if call.address:
            call = mountoptions.with_address(call, _resolve(call.address))
        try:
            mounts.mount(call.device, path, call.kind or "none", call.flags, call.data)
            if call.propagation:
                mounts.mount("none", path, "none", call.propagation)
        except KernelError as error:
            raise KernelError(
                f"failed to mount local volume: mount {call.device}:{path}, flags: {call.flags:#x},"
                f" data: {call.data}",
                "",
                error.errno,
            ) from error
        return path

    def unmount(self, name: str, options: Mapping[str, str]) -> None:
        path = self.path(name)
        if mountoptions.is_mounted(options) and _is_mount_point(path):
            mounts.unmount(path, mounts.MNT_DETACH)

    def status(self, name: str) -> Mapping[str, Any] | None:
        return None


def _is_mount_point(path: str) -> bool:
    return any(entry.target == path for entry in mountinfo.read())


def _resolve(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except OSError as error:
        raise InvalidParameter(
            f"error resolving passed in network volume address: {error}"
        ) from error


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
