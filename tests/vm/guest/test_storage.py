"""Storage that this kernel has and others may lack: project quotas, and thin provisioning.

The devicemapper driver passes the conformance suite of all drivers, which is taken over here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.storage.test_driver_conformance import *  # noqa: F403

from wherry.errors import InvalidParameter
from wherry.linux import devicemapper, quota
from wherry.storage.archive.writer import END, tar_file
from wherry.storage.devicemapper import DeviceMapperDriver
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

POOL = {"dm.loopdatasize": "512M", "dm.loopmetadatasize": "16M", "dm.basesize": "32M"}
MEGABYTE = 1 << 20


def thin(root: Path, **options: str) -> LayerStore:
    root.mkdir(exist_ok=True)
    db = StateDB(str(root / "state.db"))
    return LayerStore(db, str(root / "data"), "devicemapper", POOL | options)


def driver(store: LayerStore) -> DeviceMapperDriver:
    assert isinstance(store.driver, DeviceMapperDriver)
    return store.driver


@pytest.fixture  # type: ignore[no-redef]
def store(tmp_path: Path) -> Iterator[LayerStore]:
    opened = thin(tmp_path)
    yield opened
    for container in opened.driver.containers():
        opened.remove_root(container)
    driver(opened).forget({layer.diff_id for layer in opened.all()})
    driver(opened).close()


def filled(root: str, size: int) -> str:
    """Write as a container would, which may not pass over quotas; what dd said."""
    done = subprocess.run(
        ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource",
         "dd", "if=/dev/zero", f"of={root}/fill", "bs=1M", f"count={size}", "conv=fsync"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stderr


def test_a_thin_root_outlives_its_engine(store: LayerStore, tmp_path: Path) -> None:
    base = store.add([tar_file(b"file", b"1") + END]).diff_id
    store.create_root("c", [base])
    with store.driver.mounted("c", [base]) as root:
        Path(root, "mine").write_text("kept")
    # What a crash leaves: a record without a volume, and a volume without an end.
    records = tmp_path / "data/roots/devicemapper/.pool/volumes"
    (records / "crashed.new").write_text('{"id": 77, "size": 33554432, "layers": []}')
    again = thin(tmp_path)
    with again.driver.mounted("c", [base]) as root:
        assert Path(root, "mine").read_text() == "kept"
    subprocess.run(["umount", root], check=True)
    devicemapper.remove(again.driver.graph_data("c", [base])["DeviceName"])
    driver(again).close()
    third = thin(tmp_path)
    with third.driver.mounted("c", [base]) as root:
        assert Path(root, "mine").read_text() == "kept"
    assert not (records / "crashed.new").exists()


def test_a_thin_root_has_the_size_asked_for(store: LayerStore) -> None:
    store.create_root("small", [])
    with store.driver.mounted("small", []) as root:
        assert os.statvfs(root).f_blocks * os.statvfs(root).f_frsize < 32 * MEGABYTE
    store.create_root("large", [], 48 * MEGABYTE)
    with store.driver.mounted("large", []) as root:
        assert "No space left" not in filled(root, 33)
        assert "No space left" in filled(root, 50)
    with pytest.raises(InvalidParameter, match=r"Container size cannot be smaller than 33\.55MB"):
        store.create_root("tiny", [], MEGABYTE)
    shown = dict(store.driver.status())
    assert shown["Backing Filesystem"] == "ext4"
    assert shown["Data Space Total"] == "536.9MB"


def test_options_of_the_pool_are_checked(tmp_path: Path) -> None:
    for wrong in ({"dm.fs": "ntfs"}, {"dm.datadev": "/dev/vda"}, {"dm.thinpooldev": "nosuch"},
                  {"dm.nosuch": "1"}, {"dm.basesize": "much"}):  # fmt: skip
        with pytest.raises(InvalidParameter):
            thin(tmp_path / "-".join(wrong), **wrong)


@pytest.fixture
def quotas(tmp_path: Path) -> Iterator[Path]:
    """An ext4 with project quotas."""
    disk, target = tmp_path / "disk", tmp_path / "mnt"
    target.mkdir()
    with open(disk, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "project,quota", disk], check=True)
    subprocess.run(["mount", "-o", "loop,prjquota", disk, target], check=True)
    yield target
    subprocess.run(["umount", target], check=True)


def test_an_overlay_root_has_no_more_than_its_size(quotas: Path, tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    store = LayerStore(db, str(quotas / "data"), "overlay", {"overlay2.size": "4M"})
    base = store.add([tar_file(b"d/file", b"1") + END]).diff_id
    store.create_root("default", [base])
    store.create_root("more", [base], 8 * MEGABYTE)
    for name, fits, too_much in (("default", 3, 6), ("more", 7, 10)):
        with store.driver.mounted(name, [base]) as root:
            Path(root, "d/file").write_text("copied up, within the project")
            assert "Disk quota exceeded" not in filled(root, fits)
            assert "Disk quota exceeded" in filled(root, too_much)
    upper = store.driver.graph_data("more", [base])["UpperDir"]
    project = quota.project_of(upper)
    used, limit = quota.usage(str(quotas), project)
    assert limit == 8 * MEGABYTE
    assert limit - 65536 <= used <= limit
    layer = store.commit("more", [base], keep=False)
    assert quota.project_of(store.path(layer.diff_id)) == 0
    assert quota.usage(str(quotas), project) == (0, 0)
    store.remove_root("default")
    db.close()


def test_a_file_system_without_quotas_is_refused(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    with pytest.raises(InvalidParameter, match="prjquota"):
        LayerStore(db, str(tmp_path), "overlay", {"overlay2.size": "20M"})
    with pytest.raises(InvalidParameter, match="prjquota"):
        LayerStore(db, str(tmp_path), "overlay").create_root("c", [], MEGABYTE)
    db.close()
