"""Volumes with a size, on a file system that keeps quotas of projects."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.linux import quota
from wherry.storage.statedb import StateDB
from wherry.volumes.volumes import Volumes

MEGABYTE = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system with project quotas."""
    image, place = tmp_path / "image", tmp_path / "root"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MEGABYTE)
    subprocess.run(["mkfs.ext4", "-q", "-O", "project,quota", image], check=True)
    subprocess.run(["mount", "-o", "loop,prjquota", image, place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_volume_holds_no_more_than_its_size(root: Path, tmp_path: Path) -> None:
    volumes = Volumes(StateDB(str(tmp_path / "state.db")), str(root / "volumes"), str(tmp_path))
    for name in ("small", "other"):
        volumes.create({"Name": name, "DriverOpts": {"size": "2m"}})
    folder = volumes.inspect("small")["Mountpoint"]
    project = quota.project_of(folder)
    assert project != quota.project_of(volumes.inspect("other")["Mountpoint"])
    assert "Disk quota exceeded" not in filled(folder, 1)
    assert "Disk quota exceeded" in filled(folder, 4)
    volumes.remove("small")
    assert quota.usage(str(root), project) == (0, 0)


def filled(folder: str, size: int) -> str:
    """Write so many megabytes as a container would, which may not pass over quotas: dd's words."""
    less = ("setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource")
    write = ("dd", "if=/dev/zero", f"of={folder}/{size}", "bs=1M", f"count={size}", "conv=fsync")
    return subprocess.run([*less, *write], capture_output=True, text=True, check=False).stderr
