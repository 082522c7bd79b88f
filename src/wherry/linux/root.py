"""How a root file system is put together: data only, made by storage, mounted by the runtime."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OverlayRoot:
    """An overlayfs mount; always mounted with ``userxattr`` so that layers serve both modes.

    ``lowers`` runs from the topmost layer down. Upper and work lie on one file system.
    """

    lowers: tuple[str, ...]
    upper: str
    work: str


@dataclass(frozen=True, slots=True)
class DirectoryRoot:
    """A directory that already is the root file system (btrfs, vfs, an OCI bundle)."""

    path: str


Root = OverlayRoot | DirectoryRoot
