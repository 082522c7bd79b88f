"""The data root as an engine finds it: its folders, its lock, and whether its memory is there.

What no table of the state store names is what a crash left, and is swept away. So an engine must
never begin with an empty store over a data root that is not empty: a store that a restored backup
lacks, or a clean-up took, would cost every image and all that containers have written.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Collection

from wherry.engine.options import EngineConfig
from wherry.errors import Conflict, KernelError
from wherry.storage import salvage

log = logging.getLogger(__name__)

STORE = "state.db"
_SWEPT = ("containers", "roots", "layers", "blobs")
"""Folders whose content goes away when the store does not know it. Volumes are never swept."""
_LEVELS = 2  # below which a folder's content is: ``roots/overlay/<id>``, ``blobs/sha256/<hex>``


def make_directories(config: EngineConfig) -> None:
    """Make the folders of an engine that are not there; raises KernelError."""
    for path, mode in (
        (config.data_root, 0o710),
        (os.path.join(config.data_root, "containers"), 0o710),
        (config.exec_root, 0o711),
        (os.path.join(config.exec_root, "shims"), 0o700),
    ):
        try:
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)
        except OSError as error:
            raise KernelError("make folder", path, error.errno or 0) from error


def own(data_root: str) -> int:
    """Lock the data root; the lock ends with this process. Raises Conflict when another has it."""
    lock = os.open(os.path.join(data_root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Conflict(f"open data root {data_root}: another engine owns it") from None
    return lock


def check_memory(data_root: str, *, reset: bool) -> None:
    """Make sure that the state store knows the data root's content, or that there is none.

    Where the store is lost, with its copy: with ``reset`` what lies there is set aside, else
    raises Conflict.
    """
    content = [name for name in _SWEPT if _has_content(os.path.join(data_root, name), _LEVELS)]
    if not content or not salvage.is_lost(os.path.join(data_root, STORE)):
        return
    if not reset:
        raise Conflict(
            f"open data root {data_root}: it has content ({', '.join(content)}), but its state"
            f" store {STORE} is missing or unreadable, and so is {STORE}{salvage.COPY}. Put the"
            " store back from a backup, or start with --reset: that sets the content aside and"
            " begins anew, with the volumes only"
        )
    aside = _set_aside(data_root, content)
    log.warning("the state store of %s is lost: its content was set aside as %s", data_root, aside)


def _has_content(path: str, levels: int) -> bool:
    """Whether there is anything at a depth of ``levels``, or a file above it."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):  # of an interrupted write
                    continue
                if levels == 1 or not entry.is_dir(follow_symlinks=False):
                    return True
                if _has_content(entry.path, levels - 1):
                    return True
    except FileNotFoundError:
        return False
    return False


def _set_aside(data_root: str, names: Collection[str]) -> str:
    number = 1
    while os.path.exists(aside := os.path.join(data_root, f"set-aside-{number}")):
        number += 1
    os.mkdir(aside, 0o700)
    remains = [name for name in os.listdir(data_root) if name.startswith(STORE)]
    for name in (*names, *remains):
        os.rename(os.path.join(data_root, name), os.path.join(aside, name))
    os.makedirs(os.path.join(data_root, "containers"), mode=0o710, exist_ok=True)
    return aside
