"""Whose namespaces a container uses: its own, the host's, or those of other containers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from wherry.engine.config.host import HostConfig
from wherry.engine.containers.container import Container
from wherry.engine.containers.record import Record
from wherry.engine.containers.services import Services
from wherry.errors import Conflict, InvalidParameter, WherryError
from wherry.linux import mounts

_JOINABLE = ("pid", "ipc", "network")


@dataclass(frozen=True, slots=True)
class Joined:
    """Namespaces by OCI name as paths, and the first host id of a user namespace that is shared.

    ``shm`` is a /dev/shm that several containers see, "" when it has its own.
    """

    paths: Mapping[str, str]
    first_id: int | None
    shm: str = ""


def joined_reference(mode: str) -> str:
    """The container in ``container:REFERENCE``, "" for other modes."""
    return mode.removeprefix("container:") if mode.startswith("container:") else ""


def joins_others(host: HostConfig) -> bool:
    """Whether any namespace is another container's."""
    return any(joined_reference(mode) for mode in (host.pid_mode, host.ipc_mode, host.network_mode))


def own_user_namespace(host: HostConfig, *, available: bool, host_only: bool) -> bool:
    """Whether a container gets a user namespace of its own.

    Not where it has to act on what the host's user namespace owns (its processes, its network),
    and not where it is told to be privileged; see docs/user-namespaces.md.
    """
    return (
        available
        and not host_only
        and host.userns_mode != "host"
        and not host.privileged
        and host.pid_mode != "host"
        and host.network_mode != "host"
        and not joins_others(host)
    )


async def settled(services: Services, host: HostConfig) -> None:
    """Wait until a container can start that joins these namespaces, when the engine has just
    opened: until what others have left is given back, and its donors are taken over.

    Raises NotFound for a donor that there is not.
    """
    await services.adoption.cleared.wait()
    for mode in (host.pid_mode, host.ipc_mode, host.network_mode):
        reference = joined_reference(mode)
        if reference:
            await services.settled(reference)


def resolve(
    services: Services, container_id: str, host: HostConfig, first_id: int | None
) -> Joined:
    """Find the namespaces that a starting container joins; ``first_id`` is of its own.

    Who shares a namespace has to share the user namespace that owns it; two donors that do not
    share theirs leave only the host's. Raises Conflict when a donor does not run.
    """
    donors = {
        kind: _running(kind, services.find(reference))
        for kind, reference in _references(host).items()
    }
    shm = ""
    if "ipc" in donors:
        donor = donors["ipc"]
        if donor.record.host.ipc_mode == "private":
            raise InvalidParameter(
                f"can't join IPC of container {donor.id}: non-shareable IPC"
                " (hint: use IpcMode:shareable for the donor container)"
            )
        shm = shm_path(services, donor.id)
    elif host.ipc_mode == "shareable":
        shm = shm_path(services, container_id)
    if not donors:
        return Joined({}, first_id, shm)
    paths = {
        kind: f"/proc/{donor.state.pid}/ns/{'net' if kind == 'network' else kind}"
        for kind, donor in donors.items()
    }
    firsts = {_first_id(donor) for donor in donors.values()}
    if len(firsts) == 1 and (first := firsts.pop()) is not None:
        paths["user"] = f"/proc/{next(iter(donors.values())).state.pid}/ns/user"
        return Joined(paths, first, shm)
    return Joined(paths, None, shm)


def _first_id(donor: Container) -> int | None:
    return donor.spec.first_id if donor.spec is not None else donor.record.first_id


def donors(services: Services, host: HostConfig) -> dict[str, Container]:
    """The containers whose namespaces are joined, by kind, as far as they are there."""
    found: dict[str, Container] = {}
    for kind, reference in _references(host).items():
        with suppress(WherryError):
            found[kind] = services.find(reference)
    return found


def _references(host: HostConfig) -> dict[str, str]:
    """By kind of namespace, the container that it is taken from."""
    modes = dict(zip(_JOINABLE, (host.pid_mode, host.ipc_mode, host.network_mode), strict=True))
    named = {kind: joined_reference(mode) for kind, mode in modes.items()}
    return {kind: reference for kind, reference in named.items() if reference}


def _running(kind: str, donor: Container) -> Container:
    name = {"pid": "PID", "ipc": "IPC", "network": "network"}[kind]
    if not donor.state.alive:
        raise Conflict(f"cannot join {name} namespace of a non running container: {donor.id}")
    return donor


def shm_path(services: Services, container_id: str) -> str:
    """Where the shareable /dev/shm of a container is mounted on the host."""
    return os.path.join(services.config.exec_root, "shm", container_id)


def mount_shm(services: Services, record: Record) -> None:
    """Mount a shareable container's /dev/shm on the host; nothing for other containers."""
    if record.host.ipc_mode != "shareable":
        return
    path = shm_path(services, record.id)
    os.makedirs(path, mode=0o700, exist_ok=True)
    if not os.path.ismount(path):
        flags = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
        mounts.mount("shm", path, "tmpfs", flags, f"mode=1777,size={record.host.shm_size}")


def unmount_shm(services: Services, record: Record) -> None:
    """Undo `mount_shm`."""
    if record.host.ipc_mode != "shareable":
        return
    path = shm_path(services, record.id)
    if os.path.ismount(path):
        mounts.unmount(path, mounts.MNT_DETACH)
    if os.path.isdir(path):
        os.rmdir(path)
