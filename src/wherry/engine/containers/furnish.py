"""What a container's root has besides its image, as programs in containers expect it.

``/etc/mtab`` is where getmntent(3) and the Java runtime look for mounts. It belongs to no image:
like the engine's mount points it is neither a change nor committed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress

from wherry.storage.driver import StorageDriver

OURS = frozenset(
    {"/.dockerenv", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"}
)
"""Paths in a writable layer that the engine has put there, as mount points or as they are."""
_MOUNTS = "/proc/mounts"
_OVERLAY = ("user.overlay.", "trusted.overlay.")


def furnish(upper: str, lowers: Sequence[str]) -> None:
    """Make ``/etc/mtab`` in ``upper``, which lies on ``lowers`` (topmost first) or is a whole root.

    It is not made where the image has its own, or no ``/etc``. No link of the image is followed.
    """
    model = _etc_without_mtab((upper, *lowers))
    if model is None:
        return
    etc = os.path.join(upper, "etc")
    if model != etc:
        _like(model, etc)
    before = os.stat(etc)
    os.symlink(_MOUNTS, os.path.join(etc, "mtab"))
    os.utime(etc, ns=(before.st_atime_ns, before.st_mtime_ns))


def written(driver: StorageDriver, container: str) -> int:
    """Bytes that a container has written: what its root was furnished with does not count."""
    upper = driver.take_upper(container)
    ours = os.path.join(upper, "etc", "mtab") if upper is not None else ""
    size = driver.usage(container)
    with suppress(OSError):
        if os.readlink(ours) == _MOUNTS:
            size -= len(_MOUNTS)
    return size


def _etc_without_mtab(layers: Sequence[str]) -> str | None:
    """The topmost ``/etc`` of the layers when none of them says anything about ``/etc/mtab``."""
    topmost = None
    for layer in layers:
        etc = os.path.join(layer, "etc")
        try:
            found = os.lstat(etc)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(found.st_mode):
            break
        if os.path.lexists(os.path.join(etc, "mtab")):
            return None
        topmost = topmost or etc
    return topmost


def _like(model: str, directory: str) -> None:
    """A new directory with the owner, mode, times and attributes of ``model``."""
    os.mkdir(directory)
    owner = os.lstat(model)
    os.chown(directory, owner.st_uid, owner.st_gid)
    shutil.copystat(model, directory)
    for name in os.listxattr(directory):
        if name.startswith(_OVERLAY):  # what overlayfs notes of one layer is not true of another
            with suppress(OSError):
                os.removexattr(directory, name)
