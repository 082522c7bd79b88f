"""Directories that outlive builds: ``RUN --mount=type=cache``.

Commands of several builds write in such a directory at the same time, and whatever they put there
is theirs. The engine therefore never works in one that a command may have open: it is filled
before its first user comes, and renamed aside before it is removed, when there is no user left.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from wherry.builder.instructions import Mount
from wherry.errors import KernelError
from wherry.fs.making import Metadata, describe, make_directory
from wherry.fs.measuring import disk_usage_of
from wherry.fs.opening import open_directory
from wherry.fs.placing import private_directory, put_in_place
from wherry.fs.removing import remove_tree, set_aside
from wherry.storage.statedb import StateDB

Fill = Callable[[int], None]
"""Puts the first files into an open, empty directory that nobody else can enter."""
_NEW = "new"


class CacheMounts:
    """The cache directories of an engine, below ``directory``, which is the engine's own."""

    def __init__(self, db: StateDB, directory: str) -> None:
        self._db = db
        self._directory = directory
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._making: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._guard = threading.Lock()
        """Held while a directory gets a user, a place or is taken away: removal has a thread."""
        self._busy: dict[str, int] = defaultdict(int)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._own = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in os.listdir(self._own):
            if name.startswith("."):  # what an engine that was killed was making or removing
                remove_tree(self._own, name)

    def close(self) -> None:
        """Let the directory go."""
        os.close(self._own)

    @asynccontextmanager
    async def use(
        self, mount: Mount, fill: Fill | None = None, origin: str = ""
    ) -> AsyncIterator[str]:
        """The path of the directory for a mount, made (and filled) when it is new.

        ``locked`` waits for other users, ``private`` takes another directory while there are any.
        ``origin`` names what ``fill`` brings: with each a cache is another one.
        """
        name = mount.id or mount.target
        if origin:
            name = f"{name} from {origin}"
        if mount.sharing == "locked":
            async with self._turns[name]:
                path = await self._enter(name, mount, fill)
                try:
                    yield path
                finally:
                    self._leave(path)
            return
        path = await self._enter(name, mount, fill, alone=mount.sharing == "private")
        try:
            yield path
        finally:
            self._leave(path)

    async def _enter(
        self, name: str, mount: Mount, fill: Fill | None, *, alone: bool = False
    ) -> str:
        number = 1
        while True:
            own = name if number == 1 else f"{name}#{number}"
            directory = hashlib.sha256(own.encode("utf-8", "surrogateescape")).hexdigest()[:32]
            async with self._making[directory]:
                entered = await asyncio.to_thread(
                    self._make_and_enter, directory, mount, fill, alone=alone
                )
            if entered:
                self._record(own, directory)
                return f"{self._directory}/{directory}"
            number += 1

    def _make_and_enter(
        self, directory: str, mount: Mount, fill: Fill | None, *, alone: bool
    ) -> bool:
        """Count a user in, or return False when it would not be alone."""
        with self._guard:
            if self._exists(directory):
                return self._count_in(directory, alone=alone)
        with private_directory(self._own) as (_, private):
            made = make_directory(private, _NEW)
            try:
                if fill is not None:
                    fill(made)
                mode = 0o755 if mount.mode is None else mount.mode
                describe(made, Metadata(mode, mount.uid or 0, mount.gid or 0))
            finally:
                os.close(made)
            with self._guard:
                put_in_place(private, _NEW, self._own, directory)
                return self._count_in(directory, alone=alone)

    def _exists(self, directory: str) -> bool:
        try:
            os.close(open_directory(directory, self._own))
        except FileNotFoundError:
            return False
        return True

    def _count_in(self, directory: str, *, alone: bool) -> bool:
        if alone and self._busy[directory]:
            return False
        self._busy[directory] += 1
        return True

    def _leave(self, path: str) -> None:
        with self._guard:
            self._busy[os.path.basename(path)] -= 1

    def _record(self, name: str, directory: str) -> None:
        now = time.time()
        shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO build_mounts VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET used = excluded.used",
                (shown, directory, now, now),
            )

    def usage(self) -> list[tuple[str, int, float, float, bool]]:
        """(id, bytes, made, used, in use) of every directory."""
        rows = self._db.query("SELECT * FROM build_mounts ORDER BY used")
        return [
            (
                row["id"],
                self._size(row["directory"]),
                row["made"],
                row["used"],
                self._busy.get(row["directory"], 0) > 0,
            )
            for row in rows
        ]

    def _size(self, directory: str) -> int:
        with suppress(KernelError):  # a command moves things about just now
            return disk_usage_of(f"{self._directory}/{directory}")
        return 0

    def remove(self, name: str) -> bool:
        """Forget a cache and its files; False when it is in use. Raises KernelError."""
        row = self._db.one("SELECT directory FROM build_mounts WHERE id = ?", (name,))
        if row is None:
            return True
        with private_directory(self._own, ".aside-") as (_, private):
            with self._guard:
                if self._busy.get(row["directory"], 0):
                    return False
                set_aside(self._own, row["directory"], private)
            with self._db.transaction() as db:
                db.execute("DELETE FROM build_mounts WHERE id = ?", (name,))
        return True
