"""The fuse-overlayfs driver: overlay by the program of that name, where the kernel refuses it.

The mount lives as long as the container has a root: it is made when the root is first asked for,
survives the daemon, and goes with ``remove``. fuse-overlayfs(1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from wherry.errors import KernelError, Unavailable
from wherry.linux import mountinfo, mounts
from wherry.linux.root import DirectoryRoot
from wherry.storage.archive.writer import tar_tree
from wherry.storage.overlay import OverlayDriver

PROGRAM = "fuse-overlayfs"


class FuseOverlayfsDriver(OverlayDriver):
    """Roots by fuse-overlayfs."""

    name = "fuse-overlayfs"
    shown = name
    options = frozenset()
    marks = frozenset({".wh..wh..opq", ".wh..opq"})

    @classmethod
    def unusable(cls, directory: str) -> str:
        """Needs the program and the FUSE device."""
        if shutil.which(PROGRAM) is None:
            return f"the program {PROGRAM} is not installed"
        return "" if os.access("/dev/fuse", os.R_OK | os.W_OK) else "/dev/fuse cannot be opened"

    def status(self) -> list[tuple[str, str]]:
        """The file system below."""
        return [("Backing Filesystem", mountinfo.of_path(self._directory).kind)]

    def root(self, container: str, layers: Sequence[str]) -> DirectoryRoot:
        """See the base class; mounts when that was not done yet."""
        parts = self.parts(container, layers)
        target = self._path(container, "merged")
        if not os.path.ismount(target):
            lowers = list(parts.lowers) or [self._empty()]
            options = f"lowerdir={':'.join(lowers)},upperdir={parts.upper},workdir={parts.work}"
            done = subprocess.run(
                [PROGRAM, "-o", options, target], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise Unavailable(
                    f"mount root of container {container}: {PROGRAM}: {done.stderr.strip()}"
                )
        return DirectoryRoot(target)

    def _empty(self) -> str:
        path = os.path.join(self._directory, ".empty")
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path

    @contextmanager
    def mounted(self, container: str, layers: Sequence[str]) -> Iterator[str]:
        """See the base class."""
        before = os.path.ismount(self._path(container, "merged"))
        try:
            yield self.root(container, layers).path
        finally:
            if not before:
                self._unmount(container)

    def remove(self, container: str) -> None:
        """See the base class."""
        self._unmount(container)
        super().remove(container)

    def diff(
        self, container: str, layers: Sequence[str], without: Collection[str] = ()
    ) -> Iterator[bytes]:
        """See the base class. Its mark of opaque directories is that of layer archives."""
        barred = {os.fsencode(path[1:]) for path in without}

        def chosen(path: bytes) -> bool:
            return path not in barred and not path.endswith(b"/.wh..opq")

        return tar_tree(self.parts(container, layers).upper, whiteouts=True, chosen=chosen)

    def take_upper(self, container: str) -> str | None:
        """None: the upper directory has marks that other drivers do not know."""
        return None

    def _unmount(self, container: str) -> None:
        with suppress(KernelError):
            mounts.unmount(self._path(container, "merged"), mounts.MNT_DETACH)
