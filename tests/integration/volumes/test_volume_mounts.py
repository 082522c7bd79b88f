"""Volumes that are mounts, and parts of volumes, on the real kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.errors import InvalidParameter, WherryError
from wherry.storage.statedb import StateDB
from wherry.volumes.volumes import Volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = Volumes(
        StateDB(str(tmp_path / "state.db")), str(tmp_path / "volumes"), str(tmp_path / "run")
    )
    yield made
    for container in ("c1", "c2"):
        made.unmount(container)


def test_a_tmpfs_volume_is_mounted_while_somebody_uses_it(volumes: Volumes) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=64k,uid=1000,nosuid"}
    volumes.create({"Name": "fast", "DriverOpts": options})
    path = volumes.inspect("fast")["Mountpoint"]
    assert not os.path.ismount(path)
    for container in ("c1", "c2"):
        volumes.acquire(container, "fast")
        assert volumes.mount("fast", container) == path
    assert os.stat(path).st_uid == 1000
    assert os.statvfs(path).f_blocks * os.statvfs(path).f_frsize == 65536
    volumes.unmount("c1")
    assert os.path.ismount(path)
    volumes.unmount("c2")
    assert not os.path.ismount(path)


def test_a_bind_volume_shows_another_folder(volumes: Volumes, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("x")
    device = str(tmp_path / "elsewhere")
    volumes.create({"Name": "bound", "DriverOpts": {"type": "none", "device": device, "o": "bind"}})
    volumes.acquire("c1", "bound")
    path = volumes.mount("bound", "c1")
    assert os.listdir(path) == ["file"]
    volumes.release("c1")
    volumes.remove("bound")
    assert os.listdir(device) == ["file"]


def test_an_ext4_volume(volumes: Volumes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with open(disk, "wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)
    loop = subprocess.run(
        ["losetup", "--find", "--show", str(disk)], capture_output=True, text=True, check=False
    )
    if loop.returncode:
        pytest.skip(f"no loop device: {loop.stderr}")
    device = loop.stdout.strip()
    try:
        volumes.create({"Name": "disk", "DriverOpts": {"type": "ext4", "device": device}})
        volumes.acquire("c1", "disk")
        volumes.mount("disk", "c1")
        assert volumes.needs_content("disk")
        (tmp_path / "image" / "data").mkdir(parents=True)
        (tmp_path / "image" / "data" / "file").write_text("x")
        assert volumes.populate("disk", str(tmp_path / "image"), "/data")
        volumes.unmount("c1")
        path = Path(volumes.mount("disk", "c1"))
        assert (path / "file").read_text() == "x"
        volumes.unmount("c1")
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)


def test_a_failed_mount_says_what_and_why(volumes: Volumes) -> None:
    options = {"type": "ext4", "device": "/dev/nothing-here"}
    volumes.create({"Name": "broken", "DriverOpts": options})
    volumes.acquire("c1", "broken")
    with pytest.raises(
        WherryError,
        match=r"error while mounting volume '.*/_data': failed to mount local volume:"
        r" mount /dev/nothing-here:.*: No such file or directory",
    ):
        volumes.mount("broken", "c1")


def test_a_subpath_is_a_mount_of_its_own(volumes: Volumes) -> None:
    path = Path(volumes.acquire("c1", "data")["Mountpoint"])
    (path / "a" / "b").mkdir(parents=True)
    (path / "a" / "b" / "file").write_text("x")
    part = Path(volumes.mount("data", "c1", "a/b"))
    assert (part / "file").read_text() == "x"
    (path / "a" / "b").rename(path / "a" / "moved")
    os.symlink("/etc", path / "a" / "b")
    assert os.listdir(part) == ["file"]
    single = Path(volumes.mount("data", "c1", "a/moved/file"))
    assert single.read_text() == "x"
    volumes.unmount("c1")
    assert not part.exists() and not single.exists()


@pytest.mark.parametrize("subpath", ["../outside", "/etc", "link", "missing"])
def test_a_subpath_never_leaves_the_volume(volumes: Volumes, tmp_path: Path, subpath: str) -> None:
    path = Path(volumes.acquire("c1", "data")["Mountpoint"])
    os.symlink("../../outside", path / "link")
    (tmp_path / "volumes" / "outside").mkdir()
    with pytest.raises(InvalidParameter, match=r"subpath|cannot access path"):
        volumes.mount("data", "c1", subpath)
