"""Backup to one tar file and restore from it, into any database and any storage.

The archive holds ``tables/<name>.jsonl`` (one snapshot of the whole database) and
``blobs/<digest>``. A hub can run on while it is backed up, and can move from SQLite to
PostgreSQL or from files to S3 by a backup and a restore.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Table, select, text

from wherry.errors import Conflict, InvalidParameter, NotFound
from wherry.hub.hub import Hub
from wherry.hub.records import organisations, search
from wherry.hub.schema import (
    blobs,
    jobs,
    metadata,
    owners,
    renderings,
    repositories,
    uploads,
    users,
)

_LEFT_OUT = {uploads.name, jobs.name, renderings.name}
_READ = 1024 * 1024


async def backup(hub: Hub, path: Path) -> int:
    """Writes the archive and returns the number of blobs in it."""
    partial = path.with_name(f"{path.name}.partial")
    count = 0
    try:
        with tarfile.open(partial, "w") as archive, tempfile.TemporaryDirectory() as folder:
            listed = await hub.db.read(_dump_tables, Path(folder))
            lost = []
            for digest, size, location in listed:
                try:
                    await _add_blob(hub, archive, Path(folder), digest, size, location)
                    count += 1
                except NotFound:
                    lost.append(digest)  # collected since the snapshot: nothing needs it
            _add_bytes(archive, "lost.json", json.dumps(lost).encode())
            for name in [table.name for table in metadata.sorted_tables]:
                if name not in _LEFT_OUT:
                    archive.add(Path(folder) / name, f"tables/{name}.jsonl")
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _dump_tables(conn: Connection, folder: Path) -> list[tuple[str, int, str]]:
    if conn.dialect.name == "postgresql":
        conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    for table in metadata.sorted_tables:
        if table.name in _LEFT_OUT:
            continue
        with open(folder / table.name, "w") as file:
            # By key: a row may refer to an earlier one of its own table.
            for row in conn.execute(select(table).order_by(*table.primary_key.columns)):
                values = {
                    key: {"base64": base64.b64encode(value).decode()}
                    if isinstance(value, (bytes, memoryview))
                    else value
                    for key, value in row._mapping.items()
                }
                file.write(json.dumps(values) + "\n")
    rows = conn.execute(select(blobs.c.digest, blobs.c.size, blobs.c.location))
    return [(row.digest, row.size, row.location) for row in rows]


async def _add_blob(
    hub: Hub, archive: tarfile.TarFile, folder: Path, digest: str, size: int, location: str
) -> None:
    copy = folder / "blob"
    with open(copy, "wb") as file:
        async for chunk in hub.storage.open(location, 0, size):
            file.write(chunk)
    archive.add(copy, f"blobs/{digest}")


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


async def restore(hub: Hub, path: Path) -> int:
    """Fills an empty hub from an archive and returns the number of blobs.

    Raises Conflict when the hub is not empty and InvalidParameter for a damaged archive;
    nothing is in the database then.
    """
    if await hub.db.read(_has_rows):
        raise Conflict("restore needs an empty hub")
    locations: dict[str, str] = {}
    lost: list[str] = []
    with tempfile.TemporaryDirectory() as name, tarfile.open(path, "r") as archive:
        folder = Path(name)
        for entry in archive:
            content = archive.extractfile(entry)
            if content is None:
                continue
            kind, _, rest = entry.name.partition("/")
            if kind == "blobs":
                locations[rest] = await _store_blob(hub, rest, content)
            elif kind == "lost.json":
                lost = json.load(content)
            elif kind == "tables" and rest.removesuffix(".jsonl") in metadata.tables:
                with open(folder / rest.removesuffix(".jsonl"), "wb") as file:
                    while chunk := content.read(_READ):
                        file.write(chunk)
        await hub.db.write(_load_tables, folder, locations, set(lost))
        await hub.db.write(organisations.reserve, hub.config.reserved_owners)
    return len(locations)


def _has_rows(conn: Connection) -> bool:
    people = select(owners.c.id).where(owners.c.reserved.is_(False))
    return any(
        conn.execute(query.limit(1)).first() is not None
        for query in (select(users.c.id), people, select(repositories.c.id), select(blobs.c.digest))
    )


async def _store_blob(hub: Hub, digest: str, content: IO[bytes]) -> str:
    hasher = hashlib.new(digest.partition(":")[0])

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := content.read(_READ):
            yield chunk

    upload = hashlib.sha256(f"restore {digest}".encode()).hexdigest()[:32]
    state = await hub.storage.start(upload)
    state = await hub.storage.append(upload, state, chunks(), hasher.update)
    if hasher.hexdigest() != digest.partition(":")[2]:
        await hub.storage.cancel(upload, state)
        raise InvalidParameter(f"blob {digest} in the archive is damaged")
    return await hub.storage.finish(upload, state, digest)


def _load_tables(conn: Connection, folder: Path, locations: dict[str, str], lost: set[str]) -> None:
    conn.execute(owners.delete())  # the empty hub's own names: the archive has them too
    for table in metadata.sorted_tables:
        source = folder / table.name
        if table.name in _LEFT_OUT or not source.exists():
            continue
        batch: list[dict[str, Any]] = []
        for values in _rows(source):
            if table.name in ("blobs", "repository_blobs") and values["digest"] in lost:
                continue
            if table.name == "access_tokens" and _of_unknown_descent(values):
                continue
            if table.name == "blobs":
                values["location"] = locations[values["digest"]]
            batch.append(values)
            if len(batch) >= 500:
                conn.execute(table.insert(), batch)
                batch = []
        if batch:
            conn.execute(table.insert(), batch)
        _advance_sequence(conn, table)
    for row in conn.execute(select(metadata.tables["repositories"].c.id)).all():
        search.index(conn, row.id)


def _of_unknown_descent(token: dict[str, Any]) -> bool:
    """Whether an old archive's token could outlive the one that it was made with."""
    return token["kind"] == "refresh" and "parent_id" not in token


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with open(path) as file:
        for line in file:
            yield {
                key: base64.b64decode(value["base64"])
                if isinstance(value, dict) and set(value) == {"base64"}
                else value
                for key, value in json.loads(line).items()
            }


def _advance_sequence(conn: Connection, table: Table) -> None:
    """Lets PostgreSQL go on counting where the restored ids end."""
    column = table.columns.get("id")
    if conn.dialect.name == "postgresql" and column is not None and column.autoincrement is True:
        conn.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'),"
                f" COALESCE((SELECT MAX(id) FROM {table.name}), 0) + 1, false)"
            )
        )
