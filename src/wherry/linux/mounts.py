"""Mounts: the file-descriptor based API (fsopen, open_tree, move_mount) and the old one.

A mount is made detached, as a descriptor, and attached to a target that is a descriptor too:
between looking a target up and using it no path is walked twice.
"""

from __future__ import annotations

import ctypes
import os

from wherry.linux import syscalls
from wherry.linux.syscalls import call, checked, libc, text

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 2

ATTR_RDONLY = 0x1
ATTR_NOSUID = 0x2
ATTR_NODEV = 0x4
ATTR_NOEXEC = 0x8
ATTR_ATIME = 0x70
ATTR_NOATIME = 0x10
ATTR_STRICTATIME = 0x20
ATTR_NODIRATIME = 0x80
ATTR_IDMAP = 0x00100000
ATTR_NOSYMFOLLOW = 0x00200000

AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = 0o2000000
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6

_PROC_SUPER_MAGIC = 0x9FA0
_DEVPTS_SUPER_MAGIC = 0x1CD1
_PROC_ROOT_INODE = 1  # PROC_ROOT_INO: the same since there is a procfs


class _MountAttributes(ctypes.Structure):
    """struct mount_attr, mount_setattr(2)."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2). ``data`` is at most a page of options."""
    result = libc.mount(
        text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data) if data else None
    )
    checked(f"mount {kind}" if kind else "mount", target, result)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    checked("umount", target, libc.umount2(text(target), ctypes.c_int(flags)))


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    checked("pivot_root", new, libc.pivot_root(text(new), text(old)))


def is_procfs(fd: int) -> bool:
    """Whether a descriptor leads into a procfs, statfs(2)."""
    return _magic(fd) == _PROC_SUPER_MAGIC


def is_procfs_root(fd: int) -> bool:
    """Whether a descriptor is the root of a procfs: everything that belongs there lies in it."""
    return is_procfs(fd) and os.fstat(fd).st_ino == _PROC_ROOT_INODE


def is_devpts(fd: int) -> bool:
    """Whether a descriptor leads into a devpts, whose ptmx makes true terminals."""
    return _magic(fd) == _DEVPTS_SUPER_MAGIC


def _magic(fd: int) -> int:
    found = (ctypes.c_long * 32)()  # struct statfs begins with f_type
    checked("fstatfs", f"/proc/self/fd/{fd}", libc.fstatfs(ctypes.c_int(fd), ctypes.byref(found)))
    return found[0]


def open_tree(path: str, *, recursive: bool, at: int = AT_FDCWD) -> int:
    """A detached copy of the mount at ``path`` (empty: of ``at`` itself), as a bind would make."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    if not path:
        flags |= _AT_EMPTY_PATH
    return call(
        "open_tree",
        path,
        syscalls.OPEN_TREE,
        ctypes.c_int(at),
        text(path),
        ctypes.c_uint(flags),
    )


def move_mount(tree: int, target: int, path: str) -> None:
    """Attach the detached mount ``tree`` at the open directory or file ``target``.

    ``path`` names the target in errors only.
    """
    call(
        "mount",
        path,
        syscalls.MOVE_MOUNT,
        ctypes.c_int(tree),
        text(""),
        ctypes.c_int(target),
        text(""),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH),
    )


def set_attributes(
    tree: int,
    path: str,
    *,
    add: int = 0,
    clear: int = 0,
    propagation: int = 0,
    user_namespace: int = 0,
    recursive: bool = False,
) -> None:
    """mount_setattr(2) on an open mount. ``path`` names it in errors only.

    With ``user_namespace`` (a descriptor) the mount is idmapped; it must not be attached yet.
    """
    if user_namespace:
        add |= ATTR_IDMAP
    if add & ATTR_ATIME or clear & ATTR_ATIME:
        clear |= ATTR_ATIME
    attributes = _MountAttributes(add, clear, propagation, user_namespace)
    call(
        "idmap mount" if user_namespace else "set mount attributes",
        path,
        syscalls.MOUNT_SETATTR,
        ctypes.c_int(tree),
        text(""),
        ctypes.c_uint(_AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def new_filesystem(
    kind: str, options: tuple[str, ...] = (), attributes: int = 0, source: str = ""
) -> int:
    """Make a file system instance; the result is a detached mount (fsopen, fsconfig, fsmount).

    ``options`` are ``key`` or ``key=value`` as in mount(8).
    """
    context = call("fsopen", kind, syscalls.FSOPEN, text(kind), ctypes.c_uint(1))
    try:
        if source:
            _configure(kind, context, _FSCONFIG_SET_STRING, "source", source)
        for option in options:
            key, equals, value = option.partition("=")
            command = _FSCONFIG_SET_STRING if equals else _FSCONFIG_SET_FLAG
            _configure(kind, context, command, key, value if equals else None)
        _configure(kind, context, _FSCONFIG_CMD_CREATE, None, None)
        return call(
            f"mount {kind}",
            "",
            syscalls.FSMOUNT,
            ctypes.c_int(context),
            ctypes.c_uint(1),
            ctypes.c_uint(attributes),
        )
    finally:
        os.close(context)


def _configure(kind: str, context: int, command: int, key: str | None, value: str | None) -> None:
    call(
        f"configure {kind}",
        key or "",
        syscalls.FSCONFIG,
        ctypes.c_int(context),
        ctypes.c_uint(command),
        text(key) if key else None,
        text(value) if value is not None else None,
        ctypes.c_int(0),
    )
