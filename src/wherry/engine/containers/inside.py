"""Working on a container's files as the container sees them, without trusting what lies there.

A forked helper holds the container's root as a descriptor and takes the container's user
namespace, so that owners are the container's own ids. It stays in the daemon's pid namespace:
nothing is loaded from the container, and no process of the container can see it. Every path is
resolved below the descriptor (openat2(2), RESOLVE_IN_ROOT), and as a second wall the root is the
helper's own root directory: a link that is followed by mistake leads into the container.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import struct
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, NoReturn

from wherry.engine.containers.container import Container
from wherry.engine.containers.services import Services
from wherry.engine.containers.volumes import image_root
from wherry.errors import Conflict, Forbidden, InvalidParameter, KernelError, NotFound, WherryError
from wherry.linux import mounts, process
from wherry.runtime.rootbuild import open_target, part_of

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Inside:
    """What a helper holds: the container's root, and the host's list of its own descriptors."""

    root: int
    descriptors: int

    def path_of(self, descriptor: int) -> str:
        """Where an open file is, as a path of the container."""
        return os.readlink(str(descriptor), dir_fd=self.descriptors)


Work = Callable[[Inside, socket.socket], None]
"""Runs in the helper with what it holds and a socket to the daemon."""

_CHUNK = 1 << 18
_HEADER = struct.Struct("!I")
_FAILURES: dict[str, type[WherryError]] = {
    one.__name__: one for one in (Conflict, Forbidden, InvalidParameter, NotFound, WherryError)
}


@dataclass(frozen=True, slots=True)
class _Mounted:
    """A bind that the helper makes over a root that is not in use."""

    source: str
    target: str
    read_only: bool
    part: str = ""


@contextlib.asynccontextmanager
async def helper(
    services: Services, container: Container, work: Work, *, bare: bool = False
) -> AsyncIterator[socket.socket]:
    """A non-blocking socket to a helper that does ``work`` in the container's root.

    ``bare``: without anything that is mounted in it.
    """
    async with contextlib.AsyncExitStack() as stack:
        if container.state.alive:
            root, user, mount = _open_running(container)
            for descriptor in (root, user, mount):
                if descriptor >= 0:
                    stack.callback(os.close, descriptor)

            def enter() -> int:
                return _bare_root(mount) if bare else root

            sock, pid = _fork(enter, work, {root, user, mount}, user)
        else:
            await stack.enter_async_context(container.lock)
            path, binds = await _open_stopped(services, container, stack, bare=bare)
            read_only = container.record.host.readonly_rootfs

            def mount_all() -> int:
                return _mount_all(path, binds, read_only)

            sock, pid = _fork(mount_all, work, set())
        stack.push_async_callback(_reap, pid)
        stack.callback(sock.close)
        yield sock


async def _reap(pid: int) -> None:
    """End the helper, which has done its work or is not wanted any more, and take its status.

    Not even a request that is cancelled meanwhile leaves it behind.
    """
    os.kill(pid, signal.SIGKILL)
    await asyncio.shield(asyncio.to_thread(os.waitpid, pid, 0))


def _open_running(container: Container) -> tuple[int, int, int]:
    """Root, user namespace (-1 for the host's) and mount namespace of a running container."""
    pid = container.state.pid
    try:
        with contextlib.ExitStack() as undo:
            root = os.open(f"/proc/{pid}/root", _DIRECTORY)
            undo.callback(os.close, root)
            mount = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, mount)
            spec, user = container.spec, -1
            if spec is not None and spec.first_id is not None:
                user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            undo.pop_all()
        return root, user, mount
    except OSError as error:
        raise Conflict(
            f"open the root of container {container.id}: {error.strerror}: has it just ended?"
        ) from None


async def _open_stopped(
    services: Services, container: Container, stack: contextlib.AsyncExitStack, *, bare: bool
) -> tuple[str, list[_Mounted]]:
    record = container.record
    binds = []
    for number, point in enumerate(() if bare else record.mounts):
        source = point.source
        if point.type == "image":
            root = services.layers.driver.mounted(image_root(record, number), point.layers)
            source = await _entered(stack, root)
            binds.append(_Mounted(source, point.destination, True, point.subpath))
            continue
        if point.type == "volume":
            stack.callback(services.volumes.unmount, record.id)
            source = await asyncio.to_thread(
                services.volumes.mount, point.name, record.id, point.subpath
            )
        elif point.type != "bind" or not os.path.lexists(source):
            continue
        binds.append(_Mounted(source, point.destination, not point.read_write))
    if not bare:
        binds += _network_files(services.directory(record.id), {bind.target for bind in binds})
    mounted = services.layers.driver.mounted(record.id, record.layers)
    return await _entered(stack, mounted), binds


def _network_files(directory: str, taken: Set[str]) -> list[_Mounted]:
    """What the engine writes for a container that has run, where no mount takes its place."""
    files = {f"/etc/{name}": f"{directory}/{name}" for name in ("resolv.conf", "hostname", "hosts")}
    return [
        _Mounted(source, target, False)
        for target, source in files.items()
        if target not in taken and os.path.exists(source)
    ]


async def _entered(
    stack: contextlib.AsyncExitStack, mounted: contextlib.AbstractContextManager[str]
) -> str:
    """The path of a root that stays mounted until the stack is unwound."""
    path = await asyncio.to_thread(mounted.__enter__)
    stack.push_async_callback(asyncio.to_thread, mounted.__exit__, None, None, None)
    return path


def _join(namespace: int) -> None:
    if namespace >= 0:
        process.setns(namespace, process.CLONE_NEWUSER, "user")
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)


def _bare_root(namespace: int) -> int:
    """The root of a mount namespace alone: what lies under its mount points, as on the disk."""
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    process.setns(namespace, process.CLONE_NEWNS, "mnt")
    tree = mounts.open_tree("/", recursive=False)
    process.setns(own, process.CLONE_NEWNS, "mnt")
    os.close(own)
    return tree


def _mount_all(path: str, binds: Sequence[_Mounted], read_only: bool) -> int:
    """The root with its binds and volumes, in a mount namespace that ends with the helper."""
    process.unshare(process.CLONE_NEWNS)
    mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE)
    root = _own_mount(path)
    for bind in binds:
        tree = _part_of(bind) if bind.part else mounts.open_tree(bind.source, recursive=True)
        if bind.read_only:
            mounts.set_attributes(tree, bind.source, add=mounts.ATTR_RDONLY)
        place = open_target(root, bind.target, stat.S_ISDIR(os.fstat(tree).st_mode))
        mounts.move_mount(tree, place, bind.target)
        os.close(place)
        os.close(tree)
    if read_only:  # only now: mount points had to be made
        mounts.set_attributes(root, path, add=mounts.ATTR_RDONLY)
    return root


def _own_mount(path: str) -> int:
    """A mount of the root alone, whose attributes are the helper's own."""
    place = os.open(path, _DIRECTORY)
    tree = mounts.open_tree("", recursive=False, at=place)
    mounts.move_mount(tree, place, path)
    os.close(place)
    return tree


def _wall_in(root: int) -> Inside:
    """Make the root the helper's root directory (chroot(2))."""
    descriptors = os.open("/proc/self/fd", _DIRECTORY)
    os.fchdir(root)
    os.chroot(".")
    return Inside(root, descriptors)


def _part_of(bind: _Mounted) -> int:
    whole = os.open(bind.source, _DIRECTORY)
    try:
        return part_of(whole, bind.part)
    finally:
        os.close(whole)


def _fork(
    enter: Callable[[], int], work: Work, keep: set[int], user: int = -1
) -> tuple[socket.socket, int]:
    """Start a helper: ``enter`` gives it the root, ``user`` (unless -1) a user namespace."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        _be_helper(enter, work, theirs, keep, user)
    theirs.close()
    ours.setblocking(False)
    return ours, pid


def _be_helper(
    enter: Callable[[], int], work: Work, sock: socket.socket, keep: set[int], user: int
) -> NoReturn:
    try:
        sys.meta_path.clear()  # nothing more is loaded, whatever happens
        process.set_dumpable(False)
        process.close_all_but({0, 1, 2, sock.fileno(), *(fd for fd in keep if fd >= 0)})
        sock.setblocking(True)
        os.umask(0)  # modes are those that an archive says
        view = _wall_in(enter())
        _join(user)
        work(view, sock)
    except BaseException as error:
        with contextlib.suppress(OSError):
            send_header(sock, _described(error))
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    os._exit(0)


def _described(error: BaseException) -> dict[str, Any]:
    kind = type(error).__name__
    text = str(error) or kind
    if isinstance(error, KernelError):
        return {"failure": "KernelError", "text": [error.step, error.path, error.errno]}
    return {"failure": kind if kind in _FAILURES else "WherryError", "text": text}


def send_header(sock: socket.socket, message: dict[str, Any]) -> None:
    """In the helper: tell the daemon something before the stream begins."""
    payload = json.dumps(message).encode()
    sock.sendall(_HEADER.pack(len(payload)) + payload)


async def receive_header(sock: socket.socket) -> dict[str, Any]:
    """What the helper told; raises the failure that it met."""
    (length,) = _HEADER.unpack(await _exactly(sock, _HEADER.size))
    message: dict[str, Any] = json.loads(await _exactly(sock, length))
    if "failure" in message:
        if message["failure"] == "KernelError":
            raise KernelError(*message["text"])
        raise _FAILURES[message["failure"]](message["text"])
    return message


async def pieces(sock: socket.socket) -> AsyncGenerator[bytes, None]:
    """What the helper sends until it ends."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(sock, _CHUNK):
        yield data


async def _exactly(sock: socket.socket, length: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < length:
        part = await loop.sock_recv(sock, length - len(data))
        if not part:
            raise WherryError("the helper that works on the container's files has died")
        data += part
    return data
