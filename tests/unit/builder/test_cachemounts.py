"""Caches are filled before their first user comes and removed after the last has gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.builder.cachemounts import CacheMounts
from wherry.builder.instructions import Mount
from wherry.storage.statedb import StateDB


@pytest.fixture
def caches(tmp_path: Path) -> Iterator[CacheMounts]:
    db = StateDB(str(tmp_path / "state.db"))
    with db.transaction() as connection:
        connection.execute(
            "CREATE TABLE build_mounts (id TEXT PRIMARY KEY, directory TEXT, made REAL, used REAL)"
        )
    made = CacheMounts(db, str(tmp_path / "caches"))
    yield made
    made.close()
    db.close()


def mount(**fields: object) -> Mount:
    return Mount(**{"type": "cache", "target": "/c", "id": "x", **fields})  # type: ignore[arg-type]


def write(directory: int, name: str) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=directory))


async def test_nobody_enters_before_it_is_filled(caches: CacheMounts) -> None:
    seen: list[list[str]] = []
    filled = 0

    def fill(directory: int) -> None:
        nonlocal filled
        filled += 1
        for number in range(100):
            write(directory, f"{number}")
            seen.extend(os.listdir(caches._own) for _ in range(2))

    async def use() -> None:
        async with caches.use(mount(), fill, "seed") as path:
            assert len(os.listdir(path)) == 100

    await asyncio.gather(*(use() for _ in range(5)))
    assert filled == 1
    assert all(name.startswith(".private-") for names in seen for name in names)


async def test_a_cache_with_an_origin_is_another_one(caches: CacheMounts) -> None:
    async with (
        caches.use(mount()) as plain,
        caches.use(mount(), lambda directory: write(directory, "f"), "seed") as seeded,
    ):
        assert os.listdir(plain) == []
        assert os.listdir(seeded) == ["f"]
    assert [row[0] for row in caches.usage()] == ["x", "x from seed"]


async def test_what_is_in_use_is_not_removed(caches: CacheMounts) -> None:
    async with caches.use(mount()) as path:
        (Path(path) / "f").touch()
        assert not caches.remove("x")
        assert os.listdir(path) == ["f"]
        assert caches.usage()[0][4]
    assert caches.remove("x")
    assert caches.usage() == []
    assert os.listdir(caches._own) == []


async def test_whoever_comes_during_a_removal_gets_a_new_directory(
    caches: CacheMounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with caches.use(mount()) as path:
        (Path(path) / "old").touch()
    entered = []

    async def come() -> None:
        async with caches.use(mount()) as again:
            (Path(again) / "new").touch()
            entered.append(again)

    from wherry.builder import cachemounts

    move = cachemounts.set_aside

    def aside(at: int, name: str, private: int) -> str | None:
        moved = move(at, name, private)
        coming.append(asyncio.run_coroutine_threadsafe(come(), loop))
        return moved

    coming: list[object] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(cachemounts, "set_aside", aside)
    assert await asyncio.to_thread(caches.remove, "x")
    await asyncio.wrap_future(coming[0])  # type: ignore[arg-type]
    assert entered == [path]
    assert os.listdir(path) == ["new"]


async def test_private_and_locked(caches: CacheMounts) -> None:
    private = mount(sharing="private")
    async with caches.use(private) as one, caches.use(private) as two:
        assert one != two
    async with caches.use(private) as again:
        assert again == one
    users = 0

    async def locked() -> None:
        nonlocal users
        async with caches.use(mount(sharing="locked")):
            users += 1
            assert users == 1
            await asyncio.sleep(0)
            users -= 1

    await asyncio.gather(*(locked() for _ in range(5)))


async def test_what_a_killed_engine_was_making_is_swept(
    tmp_path: Path, caches: CacheMounts
) -> None:
    async with caches.use(mount(id="kept")):
        pass
    (tmp_path / "caches" / ".private-1" / "new" / "d").mkdir(parents=True)
    CacheMounts(caches._db, str(tmp_path / "caches")).close()
    assert len(os.listdir(tmp_path / "caches")) == 1


async def test_names_may_be_any_bytes(caches: CacheMounts) -> None:
    async with caches.use(mount(id="\udcff")), caches.use(mount(id="\udcfe")):
        pass
    assert len({row[0] for row in caches.usage()}) == 2
    for row in caches.usage():
        assert caches.remove(row[0])
    assert os.listdir(caches._own) == []
