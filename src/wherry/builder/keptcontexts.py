"""Contexts of clients that are kept, so that the next build fetches only what has changed.

Contents lie in spools: files without a name that vanish with the last who uses them, at the
latest with the engine.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from wherry.builder.context import SpooledTree
from wherry.builder.trees import Entry

_SECOND = 1_000_000_000
_SETTLED = 2 * _SECOND
"""A file that changed as recently as this may change again without a new time."""
_MAX_KEPT = 16
_MAX_BYTES = 2 << 30
_MAX_ENTRIES = 200_000
_SLACK = 64 << 20
"""Bytes that a spool may hold in vain, beside as many as are in use."""


class Spool:
    """A nameless file that contents are appended to; closed when its last user lets go."""

    def __init__(self, directory: str) -> None:
        self.file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  see `release`
        self.end = 0
        self._users = 1
        self._lock = threading.Lock()

    def reserve(self, size: int) -> int:
        """Room for ``size`` bytes; returns its offset."""
        offset, self.end = self.end, self.end + size
        return offset

    def use(self) -> Spool:
        """One user more."""
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        """One user less."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self.file.close()


@dataclass(eq=False)
class Kept:
    """A context as it was last sent. ``unsure`` are files that had only just changed then."""

    key: str
    directory: str
    tree: SpooledTree
    spool: Spool
    size: int
    unsure: frozenset[str]
    made: float = field(default_factory=time.time)
    used: float = field(default_factory=time.time)
    uses: int = 0

    def same(self, path: str, entry: Entry) -> bool:
        """Whether the file at ``path`` is for certain the one that was sent.

        Size, owner, mode and time must be what they were. A time in whole seconds says too
        little (archives and checkouts set such), and so does one that was fresh at the time.
        """
        return (
            entry.mtime % _SECOND != 0
            and path not in self.unsure
            and self.tree.entry(path) == entry
        )


class KeptContexts:
    """The contexts that were used last, by what clients call them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    @staticmethod
    def key(shared_key: str, directory: str) -> str:
        """What a directory of a client is kept under; empty when it cannot be told again."""
        if not shared_key:
            return ""
        return hashlib.sha256(f"{shared_key}\0{directory}".encode()).hexdigest()

    def find(self, key: str) -> Kept | None:
        """What was kept, unless so much of its spool is unused that a new one is better."""
        kept = self._kept.get(key)
        if kept is None or kept.spool.end > 2 * kept.size + _SLACK:
            return None
        return kept

    def keep(self, key: str, directory: str, tree: SpooledTree, spool: Spool, began: float) -> None:
        """Keep a context whose transfer began at ``began`` (unix seconds)."""
        before = self._kept.get(key)
        fresh = began * _SECOND - _SETTLED
        size, unsure = 0, set()
        for count, (path, entry) in enumerate(tree.files()):
            size += entry.size
            if entry.mtime > fresh:
                unsure.add(path)
            if count > _MAX_ENTRIES or size > _MAX_BYTES:
                self.remove(key)
                return
        kept = Kept(key, directory, tree, spool.use(), size, frozenset(unsure))
        if before is not None:
            kept.made, kept.uses = before.made, before.uses + 1
            self.remove(key)
        self._kept[key] = kept
        while len(self._kept) > _MAX_KEPT or self._total() > _MAX_BYTES:
            self.remove(next(iter(self._kept)))

    def _total(self) -> int:
        return sum(kept.spool.end for kept in self._kept.values())

    def all(self) -> Iterator[Kept]:
        """All that is kept, least recently used first."""
        yield from list(self._kept.values())

    def remove(self, key: str) -> None:
        """Keep a context no longer; builds that use it are not disturbed."""
        if (kept := self._kept.pop(key, None)) is not None:
            kept.spool.release()
