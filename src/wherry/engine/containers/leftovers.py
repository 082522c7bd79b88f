"""What a crash left on the host: found before an engine answers, removed while it does.

A new container may be on its way at any time, so nothing is removed because it is unknown *now*:
what is found belongs to nobody when the engine opens, and is not looked for again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass

from wherry.engine.containers.services import Services, log
from wherry.errors import KernelError, WherryError
from wherry.fs.removing import remove_path
from wherry.linux import cgroups, mounts
from wherry.linux.cgroups import Cgroup


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Paths and names of what nobody has any more.

    ``sockets`` are those of shims, ``shm`` mounts of /dev/shm and ``cgroups`` cgroups of
    containers that do not run: they may be known, and start again. ``folders`` and ``roots`` are
    those of unknown containers.
    """

    sockets: tuple[str, ...] = ()
    shm: tuple[str, ...] = ()
    cgroups: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()

    @property
    def containers(self) -> frozenset[str]:
        """Ids of containers that have left something by which a new start would stumble."""
        names = (os.path.basename(path) for path in (*self.sockets, *self.shm, *self.cgroups))
        return frozenset(name.removesuffix(".sock") for name in names)


def find(services: Services, kept: Collection[str]) -> Leftovers:
    """Look for what belongs to no container, or to one that does not run; ``kept`` is let be."""
    known = {*services.containers, *kept}
    alive = {container.id for container in services if container.state.alive}
    spared = alive | set(kept)
    shims = os.path.join(services.config.exec_root, "shims")
    shared = os.path.join(services.config.exec_root, "shm")
    folders = os.path.join(services.config.data_root, "containers")
    return Leftovers(
        sockets=tuple(
            os.path.join(shims, name)
            for name in _names(shims)
            if name.endswith(".sock") and name.removesuffix(".sock") not in alive
        ),
        shm=tuple(os.path.join(shared, name) for name in _names(shared) if name not in spared),
        cgroups=tuple(_cgroups(services, spared)),
        folders=tuple(os.path.join(folders, name) for name in _names(folders) if name not in known),
        roots=tuple(
            name
            for name in services.layers.driver.containers()
            if name.partition(".")[0] not in known  # ID, or ID.NUMBER of an image mount
        ),
    )


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _cgroups(services: Services, spared: Collection[str]) -> set[str]:
    parent = cgroups.clean(services.config.cgroup_parent or services.instance.cgroup_parent)
    return {
        cgroups.below(parent, name)
        for point in cgroups.discover().hierarchies()
        for name in _names(point + parent)
        if len(name) == 64 and name not in spared and os.path.isdir(f"{point}{parent}/{name}")
    }


def remove_of_ended(left: Leftovers) -> None:
    """Remove what a container that starts again would stumble over."""
    for path in left.shm:
        with contextlib.suppress(KernelError, OSError):
            if os.path.ismount(path):
                mounts.unmount(path, mounts.MNT_DETACH)
            os.rmdir(path)
    for path in left.cgroups:
        with contextlib.suppress(KernelError):
            cgroup = Cgroup(path)
            cgroup.kill()
            cgroup.remove()


def remove_of_unknown(services: Services, left: Leftovers) -> None:
    """Remove the files of containers that nobody knows; one that cannot go keeps none other."""
    for path in left.folders:
        with contextlib.suppress(KernelError):
            remove_path(path)
    for name in left.roots:
        if services.closing:
            return
        try:
            services.layers.remove_root(name)
        except (WherryError, OSError) as error:
            log.error("remove the root of container %s, which nobody knows: %s", name, error)
