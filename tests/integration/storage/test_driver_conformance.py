"""What every storage driver must do, the same tests for all of them."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.trees import deepen

from wherry.errors import Conflict, NotFound
from wherry.fs.opening import open_in_root
from wherry.storage.archive import header
from wherry.storage.archive.header import Entry, pack
from wherry.storage.archive.writer import END, tar_file
from wherry.storage.driver import BUILT_IN, Change
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

pytestmark = pytest.mark.root


@pytest.fixture(params=BUILT_IN)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LayerStore]:
    db = StateDB(str(tmp_path / "state.db"))
    data = tmp_path / "data"
    data.mkdir()
    if request.param == "btrfs":
        image = tmp_path / "disk"
        with open(image, "wb") as file:
            file.truncate(256 << 20)
        subprocess.run(["mkfs.btrfs", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, data], check=True)
    try:
        opened = LayerStore(db, str(data), request.param)
        yield opened
        for container in opened.driver.containers():
            opened.remove_root(container)
    finally:
        db.close()
        if request.param == "btrfs":
            subprocess.run(["umount", "-l", data], check=True)


def _directory(name: str, mode: int = 0o755, uid: int = 0) -> bytes:
    return pack(Entry(name.encode(), header.DIRECTORY, mode, uid, uid, 0, 10**18))


def _link(name: str, target: str, kind: bytes) -> bytes:
    return pack(Entry(name.encode(), kind, 0o777, 0, 0, 0, 0, link=target.encode()))


@pytest.fixture
def layers(store: LayerStore) -> list[str]:
    """A base, and a layer that removes, replaces and hides parts of it."""
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    tool = Entry(b"bin/tool", header.REGULAR, 0o4755, 0, 0, 4, 10**18,
                 xattrs=(("security.capability", capability),))  # fmt: skip
    base = [
        _directory("bin/"), pack(tool), b"tool" + bytes(508),
        _link("bin/alias", "bin/tool", header.HARD_LINK), _link("sbin", "bin", header.SYMLINK),
        _directory("etc/", 0o750, 12), tar_file(b"etc/gone", b"1"), tar_file(b"etc/kept", b"2"),
        _directory("opt/"), tar_file(b"opt/old", b"3"), _directory("swap/"),
        tar_file(b"swap/inner", b"4"), tar_file(b"plain", b"5"), END,
    ]  # fmt: skip
    top = [
        tar_file(b"etc/.wh.gone", b""), tar_file(b"etc/new", b"6"), _directory("opt/"),
        tar_file(b"opt/.wh..wh..opq", b""), tar_file(b"opt/fresh", b"7"),
        tar_file(b"swap", b"now a file"), _directory("plain/"), tar_file(b"plain/x", b"8"), END,
    ]  # fmt: skip
    return [store.add([b"".join(base)]).diff_id, store.add([b"".join(top)]).diff_id]


def tree(root: str) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {}
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = Path(directory, name)
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = "-> " + os.readlink(path)
            elif path.is_dir():
                found[key] = "dir"
            else:
                found[key] = path.read_bytes()
    return found


MERGED = {
    "bin": "dir", "bin/tool": b"tool", "bin/alias": b"tool", "sbin": "-> bin", "etc": "dir",
    "etc/kept": b"2", "etc/new": b"6", "opt": "dir", "opt/fresh": b"7", "swap": b"now a file",
    "plain": "dir", "plain/x": b"8",
}  # fmt: skip


def test_the_root_is_the_merged_layers(store: LayerStore, layers: list[str]) -> None:
    store.create_root("c", layers)
    with store.driver.mounted("c", layers) as root:
        assert tree(root) == MERGED
        tool = os.stat(f"{root}/bin/tool")
        assert stat.S_IMODE(tool.st_mode) == 0o4755
        assert os.stat(f"{root}/bin/alias").st_ino == tool.st_ino
        assert len(os.getxattr(f"{root}/bin/tool", "security.capability")) == 20


def test_metadata_of_directories_survives(store: LayerStore, layers: list[str]) -> None:
    store.create_root("c", layers[:1])
    with store.driver.mounted("c", layers[:1]) as root:
        found = os.stat(f"{root}/etc")
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o750, 12)
    assert found.st_mtime_ns == 10**18


def test_a_layer_may_occur_twice(store: LayerStore, layers: list[str]) -> None:
    base, top = layers
    twice = [base, top, base, top]
    store.create_root("c", twice)
    with store.driver.mounted("c", twice) as root:
        assert tree(root) == MERGED
    assert list(store.driver.changes("c", twice)) == []


def test_no_layers_is_an_empty_root(store: LayerStore) -> None:
    store.create_root("c", [])
    with store.driver.mounted("c", []) as root:
        assert tree(root) == {}
        Path(root, "x").write_text("y")
    assert list(store.driver.changes("c", [])) == [Change("A", "/x")]


def test_containers_do_not_see_each_other(store: LayerStore, layers: list[str]) -> None:
    store.create_root("one", layers)
    store.create_root("two", layers)
    with store.driver.mounted("one", layers) as root:
        Path(root, "etc/kept").write_text("changed")
        Path(root, "mine").write_text("x")
    with store.driver.mounted("two", layers) as root:
        assert tree(root) == MERGED
    with store.driver.mounted("one", layers) as root:
        assert tree(root) == MERGED | {"etc/kept": b"changed", "mine": b"x"}


def change(root: str) -> None:
    """A container's work: add, change, remove, replace a directory."""
    Path(root, "added").mkdir()
    Path(root, "added/file").write_bytes(b"new")
    Path(root, "etc/kept").write_bytes(b"longer than before")
    os.unlink(f"{root}/etc/new")
    os.unlink(f"{root}/opt/fresh")
    os.rmdir(f"{root}/opt")
    os.mkdir(f"{root}/opt")
    Path(root, "opt/other").write_bytes(b"o")
    os.symlink("kept", f"{root}/etc/link")


CHANGED = {
    key: value for key, value in MERGED.items() if key not in ("etc/new", "opt/fresh")
} | {
    "added": "dir", "added/file": b"new", "etc/kept": b"longer than before", "opt/other": b"o",
    "etc/link": "-> kept",
}  # fmt: skip


def test_changes_are_told(store: LayerStore, layers: list[str]) -> None:
    store.create_root("c", layers)
    assert list(store.driver.changes("c", layers)) == []
    with store.driver.mounted("c", layers) as root:
        change(root)
    assert sorted((item.path, item.kind) for item in store.driver.changes("c", layers)) == [
        ("/added", "A"), ("/added/file", "A"), ("/etc", "C"), ("/etc/kept", "C"),
        ("/etc/link", "A"), ("/etc/new", "D"), ("/opt", "C"), ("/opt/fresh", "D"),
        ("/opt/other", "A"),
    ]  # fmt: skip


@pytest.mark.parametrize("keep", [True, False])
def test_a_commit_gives_the_same_tree_again(
    store: LayerStore, layers: list[str], keep: bool
) -> None:
    store.create_root("c", layers)
    with store.driver.mounted("c", layers) as root:
        change(root)
    layer = store.commit("c", layers, keep=keep)
    with store.lease() as protect:
        protect(layer.diff_id)
        store.create_root("again", [*layers, layer.diff_id])
    with store.driver.mounted("again", [*layers, layer.diff_id]) as root:
        assert tree(root) == CHANGED
    data = b"".join(store.tar(layer.diff_id))
    assert "opt/.wh.fresh" in _names(data) or "opt/.wh..wh..opq" in _names(data)
    assert store.driver.containers() == (["again", "c"] if keep else ["again"])


def _names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def test_export_is_the_whole_root(store: LayerStore, layers: list[str]) -> None:
    store.create_root("c", layers)
    data = b"".join(store.driver.export("c", layers))
    assert sorted(_names(data)) == sorted(MERGED)


def test_remove_leaves_nothing_and_can_be_repeated(store: LayerStore, layers: list[str]) -> None:
    store.create_root("c", layers)
    with pytest.raises(Conflict):
        store.create_root("c", layers)
    store.remove_root("c")
    store.remove_root("c")
    assert store.driver.containers() == []
    with pytest.raises(NotFound):
        store.driver.root("c", layers)
    assert {layer.diff_id for layer in store.collect()} == set(layers)
    assert os.listdir(store.directory) == []


def test_usage_counts_what_was_written(store: LayerStore, layers: list[str]) -> None:
    store.create_root("c", layers)
    before = store.driver.usage("c")
    with store.driver.mounted("c", layers) as root:
        Path(root, "data").write_bytes(os.urandom(300_000))
        os.link(f"{root}/data", f"{root}/data2")
    assert store.driver.usage("c") - before == 300_000


DEPTH = 1100


def test_a_root_deeper_than_any_path(store: LayerStore, layers: list[str]) -> None:
    # FUSE itself names files by path: there no container can go beyond PATH_MAX.
    name = "d" if store.driver.name == "fuse-overlayfs" else "dddd"
    store.create_root("deep", layers)
    with store.driver.mounted("deep", layers) as root:
        top = os.open(root, os.O_RDONLY)
        deepen(top, DEPTH, name)
        os.close(top)
        changes = list(store.driver.changes("deep", layers))
        assert max(change.path.count("/d") for change in changes) == DEPTH
        assert changes[-1].kind == "A"
        assert store.driver.usage("deep") >= 0
    layer = store.commit("deep", layers)
    store.create_root("again", [*layers, layer.diff_id])
    with store.driver.mounted("again", [*layers, layer.diff_id]) as root:
        assert list(store.driver.changes("again", [*layers, layer.diff_id])) == []
        top = os.open(root, os.O_RDONLY)
        os.close(open_in_root(top, f"{name}/" * DEPTH + "leaf", os.O_RDONLY))
        os.close(top)
    assert len(b"".join(store.tar(layer.diff_id))) == layer.tar_size
    for container in ("deep", "again"):
        store.remove_root(container)
    assert store.driver.containers() == []
    assert [one.diff_id for one in store.collect()]
