"""Opening what a container's root takes from the host, as detached mounts.

Runs in the shim, as real root and in the host's mount namespace, after the container's user
namespace exists. The container never sees a host path: it gets descriptors.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from wherry.errors import KernelError
from wherry.linux import mounts
from wherry.linux.idmap import IdRange, to_host
from wherry.runtime.rootplan import DeviceTree, Source, Tree

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def open_sources(
    sources: Sequence[Source],
    user_namespace: int,
    uids: Sequence[IdRange],
    gids: Sequence[IdRange],
) -> list[int]:
    """A descriptor for each source; the caller closes them.

    ``user_namespace`` is a descriptor, 0 for a container in the host's user namespace.
    """
    opened: list[int] = []
    try:
        for source in sources:
            if isinstance(source, Tree):
                opened.append(_open_tree(source, user_namespace))
            else:
                opened.append(_make_devices(source, uids, gids))
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise
    return opened


def _open_tree(source: Tree, user_namespace: int) -> int:
    tree = mounts.open_tree(source.path, recursive=source.recursive)
    try:
        if source.path == "/dev/null":
            _require_null(tree)
        if user_namespace and source.idmap:
            _idmap(tree, source, user_namespace)
        mounts.set_attributes(
            tree,
            source.path,
            add=source.set_attributes,
            clear=source.clear_attributes,
            propagation=(source.propagation or mounts.MS_PRIVATE) & ~mounts.MS_REC,
            recursive=False,
        )
        if source.propagation & mounts.MS_REC and source.recursive:
            mounts.set_attributes(
                tree,
                source.path,
                propagation=source.propagation & ~mounts.MS_REC,
                recursive=True,
            )
        if source.set_recursively:
            mounts.set_attributes(tree, source.path, add=source.set_recursively, recursive=True)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _idmap(tree: int, source: Tree, user_namespace: int) -> None:
    """Map the tree's ids: with all below it, else its top alone, else not (unless required)."""
    try:
        mounts.set_attributes(
            tree, source.path, user_namespace=user_namespace, recursive=source.recursive
        )
        return
    except KernelError as error:
        if source.required_idmap and not source.recursive:
            raise
        refused = error
    if source.recursive:
        try:
            mounts.set_attributes(tree, source.path, user_namespace=user_namespace)
            return
        except KernelError as error:
            refused = error
    if source.required_idmap:
        raise refused


def _require_null(tree: int) -> None:
    status = os.fstat(tree)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        raise KernelError("open the null device", "/dev/null", 19)


def _make_devices(source: DeviceTree, uids: Sequence[IdRange], gids: Sequence[IdRange]) -> int:
    tree = mounts.new_filesystem("tmpfs", source.options, source.attributes, "tmpfs")

    def own(name: str, uid: int, gid: int) -> None:
        host_uid, host_gid = to_host(uids, uid), to_host(gids, gid)
        os.chown(
            name,
            uid if host_uid is None else host_uid,
            gid if host_gid is None else host_gid,
            dir_fd=tree,
            follow_symlinks=False,
        )

    try:
        if uids:
            own(".", 0, 0)
        for node in source.nodes:
            _make_parents(tree, node.path, own)
            try:
                os.mknod(
                    node.path,
                    _KINDS[node.kind] | node.mode,
                    os.makedev(node.major, node.minor),
                    dir_fd=tree,
                )
            except OSError as error:
                raise KernelError("make device", f"/dev/{node.path}", error.errno or 0) from error
            if uids or node.uid or node.gid:
                own(node.path, node.uid, node.gid)
        for name, target in source.links:
            os.symlink(target, name, dir_fd=tree)
            if uids:
                own(name, 0, 0)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _make_parents(tree: int, path: str, own: object) -> None:
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        try:
            os.mkdir(name, 0o755, dir_fd=tree)
        except FileExistsError:
            continue
        own(name, 0, 0)  # type: ignore[operator]
