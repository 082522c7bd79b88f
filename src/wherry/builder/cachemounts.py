"""Directories that outlive builds: ``RUN --mount=type=cache``."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wherry.builder.instructions import Mount
from wherry.fs.measuring import disk_usage_of
from wherry.fs.removing import remove_path
from wherry.storage.statedb import StateDB


class CacheMounts:
    """The cache directories of an engine, below ``directory``."""

    def __init__(self, db: StateDB, directory: str) -> None:
        self._db = db
        self._directory = directory
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._busy: dict[str, int] = defaultdict(int)
        os.makedirs(directory, mode=0o700, exist_ok=True)

    @asynccontextmanager
    async def use(self, mount: Mount) -> AsyncIterator[str]:
        """The directory for a mount, made when it is new.

        ``locked`` waits for other users, ``private`` takes another directory while there are any.
        """
        name = mount.id or mount.target
        if mount.sharing == "locked":
            async with self._locks[name]:
                path = self._enter(self._prepare(name, mount))
                try:
                    yield path
                finally:
                    self._leave(path)
            return
        path = self._prepare(name, mount)
        if mount.sharing == "private":
            number = 1
            while self._busy[path]:
                number += 1
                path = self._prepare(f"{name}#{number}", mount)
        try:
            yield self._enter(path)
        finally:
            self._leave(path)

    def _enter(self, path: str) -> str:
        self._busy[path] += 1
        return path

    def _leave(self, path: str) -> None:
        self._busy[path] -= 1

    def _prepare(self, name: str, mount: Mount) -> str:
        path = f"{self._directory}/{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        now = time.time()
        if not os.path.isdir(path):
            fresh = f"{self._directory}/.{uuid.uuid4().hex}"
            os.mkdir(fresh, 0o700)
            os.chown(fresh, mount.uid or 0, mount.gid or 0)
            os.chmod(fresh, 0o755 if mount.mode is None else mount.mode)
            os.rename(fresh, path)
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO build_mounts VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET used = excluded.used",
                (name, os.path.basename(path), now, now),
            )
        return path

    def usage(self) -> list[tuple[str, int, float, float, bool]]:
        """(id, bytes, made, used, in use) of every directory."""
        rows = self._db.query("SELECT * FROM build_mounts ORDER BY used")
        return [
            (
                row["id"],
                disk_usage_of(f"{self._directory}/{row['directory']}"),
                row["made"],
                row["used"],
                self._busy[f"{self._directory}/{row['directory']}"] > 0,
            )
            for row in rows
        ]

    def remove(self, name: str) -> None:
        """Forget a cache and its files."""
        row = self._db.one("SELECT directory FROM build_mounts WHERE id = ?", (name,))
        if row is None:
            return
        with self._db.transaction() as db:
            db.execute("DELETE FROM build_mounts WHERE id = ?", (name,))
        remove_path(f"{self._directory}/{row['directory']}")
