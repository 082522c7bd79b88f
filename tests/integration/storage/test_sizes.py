"""Limits of containers' roots and the options that ask for them; more in tests/vm/guest."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.errors import InvalidParameter
from wherry.storage.archive.writer import END, tar_file
from wherry.storage.driver import status_of
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

pytestmark = pytest.mark.root

MEGABYTE = 1 << 20


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    disk, target = tmp_path / "disk", tmp_path / "btrfs"
    target.mkdir()
    with open(disk, "wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.btrfs", "-q", disk], check=True)
    subprocess.run(["mount", "-o", "loop", disk, target], check=True)
    yield target
    subprocess.run(["umount", "-l", target], check=True)


def test_a_btrfs_root_has_no_more_than_its_size(btrfs: Path, tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    store = LayerStore(db, str(btrfs), "btrfs", {"btrfs.size": "8M"})
    base = store.add([tar_file(b"large", b"1" * 12 * MEGABYTE) + END]).diff_id
    store.create_root("default", [base])
    store.create_root("more", [base], 24 * MEGABYTE)
    for name, fits in (("default", 6), ("more", 20)):
        with store.driver.mounted(name, [base]) as root, open(f"{root}/fill", "wb") as file:
            file.write(bytes(fits * MEGABYTE))
            file.flush()
            with pytest.raises(OSError, match="quota") as refused:
                for _ in range(8):
                    file.write(b"x" * MEGABYTE)
                    file.flush()
            assert refused.value.errno == errno.EDQUOT
        store.remove_root(name)
    db.close()


@pytest.mark.parametrize("driver", ["overlay", "vfs", "fuse-overlayfs"])
def test_a_size_that_cannot_be_kept_is_refused(tmp_path: Path, driver: str) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    store = LayerStore(db, str(tmp_path), driver)
    with pytest.raises(InvalidParameter, match="storage"):
        store.create_root("c", [], MEGABYTE)
    assert store.driver.containers() == []
    db.close()


@pytest.mark.parametrize(
    ("driver", "option"),
    [("overlay", "overlay2.nosuch"), ("vfs", "overlay2.size"), ("btrfs", "btrfs.nosuch")],
)
def test_unknown_options_are_refused(btrfs: Path, tmp_path: Path, driver: str, option: str) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    with pytest.raises(InvalidParameter, match=f"unknown option {option}"):
        LayerStore(db, str(btrfs), driver, {option: "1"})
    db.close()


def test_aufs_is_answered_by_overlay(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    driver = LayerStore(db, str(tmp_path), "aufs").driver
    assert driver.name == "overlay"
    assert ("AUFS", "answered by overlay: the kernel never took AUFS") in status_of(driver, "aufs")
    assert "AUFS" not in dict(status_of(driver, "overlay2"))
    db.close()
