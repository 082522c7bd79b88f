"""Volumes: the six operations, references, copy-up, crashes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import Conflict, InvalidParameter, NotFound
from wherry.fs.copying import copy_tree
from wherry.storage.statedb import StateDB
from wherry.volumes.volumes import Volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return make(tmp_path)


def make(tmp_path: Path, **more: Any) -> Volumes:
    return Volumes(
        StateDB(str(tmp_path / "state.db")),
        str(tmp_path / "volumes"),
        str(tmp_path / "run"),
        **more,
    )


def names(volumes: Volumes) -> list[str]:
    return [view["Name"] for view in volumes.list()]


def test_create_inspect_and_list(volumes: Volumes, tmp_path: Path) -> None:
    view = volumes.create({"Name": "data", "Labels": {"a": "b"}})
    assert view == volumes.inspect("data") == volumes.list()[0]
    assert view["Driver"] == "local" and view["Scope"] == "local"
    assert view["Labels"] == {"a": "b"} and view["Options"] is None
    assert view["Mountpoint"] == str(tmp_path / "volumes" / "data" / "_data")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", view["CreatedAt"])
    assert os.stat(view["Mountpoint"]).st_mode & 0o777 == 0o755


def test_create_without_a_name_is_anonymous(volumes: Volumes) -> None:
    view = volumes.create({})
    assert re.fullmatch("[0-9a-f]{64}", view["Name"])
    assert view["Labels"] == {"com.docker.volume.anonymous": ""}


def test_create_again_returns_the_same(volumes: Volumes) -> None:
    first = volumes.create({"Name": "data", "Labels": {"a": "b"}})
    assert volumes.create({"Name": "data"}) == first


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"Name": "x"}, InvalidParameter, "volume name is too short"),
        ({"Name": "../x"}, InvalidParameter, "includes invalid characters for a local volume name"),
        ({"Name": "a/b"}, InvalidParameter, "includes invalid characters for a local volume name"),
        ({"Name": "ok", "Driver": "nope"}, NotFound, 'plugin "nope" not found'),
        (
            {"Name": "ok", "DriverOpts": {"a": "b"}},
            InvalidParameter,
            'create ok: invalid option: "a"',
        ),
        (
            {"Name": "ok", "DriverOpts": {"size": "big"}},
            InvalidParameter,
            "create ok: invalid size: 'big'",
        ),
        (
            {"Name": "ok", "DriverOpts": {"size": "1g"}},
            InvalidParameter,
            "create ok: quota size requested but no quota support",
        ),
    ],
)
def test_refused_volumes_leave_nothing(
    volumes: Volumes, tmp_path: Path, body: dict[str, Any], kind: type, message: str
) -> None:
    with pytest.raises(kind, match=message):
        volumes.create(body)
    assert os.listdir(tmp_path / "volumes") == []
    assert names(volumes) == []


def test_remove(volumes: Volumes, tmp_path: Path) -> None:
    volumes.create({"Name": "data"})
    volumes.remove("data")
    assert os.listdir(tmp_path / "volumes") == []
    with pytest.raises(NotFound, match="get data: no such volume"):
        volumes.remove("data")
    volumes.remove("data", force=True)


def test_a_volume_in_use_stays(volumes: Volumes) -> None:
    volumes.acquire("c1", "data")
    volumes.acquire("c2", "data")
    with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c1, c2\]"):
        volumes.remove("data", force=True)
    volumes.release("c1")
    volumes.release("c2", remove_anonymous=True)
    assert names(volumes) == ["data"]
    volumes.remove("data")


def test_anonymous_volumes_go_with_their_last_container(volumes: Volumes) -> None:
    name = volumes.acquire("c1")["Name"]
    volumes.acquire("c2", name)
    assert volumes.release("c1", remove_anonymous=True) == []
    assert volumes.release("c2", remove_anonymous=True) == [name]
    kept = volumes.acquire("c3")["Name"]
    volumes.release("c3")
    assert names(volumes) == [kept]


def test_prune_takes_anonymous_ones_and_all_when_told(volumes: Volumes) -> None:
    volumes.create({"Name": "named"})
    used = volumes.acquire("c1")["Name"]
    anonymous = volumes.create({})
    with open(os.path.join(anonymous["Mountpoint"], "f"), "wb") as file:
        file.write(bytes(1000))
    pruned = volumes.prune()
    assert pruned.names == (anonymous["Name"],)
    assert pruned.size >= 1000
    assert volumes.prune(chosen=["other"], everything=True).names == ()
    assert volumes.prune(everything=True).names == ("named",)
    assert names(volumes) == [used]


def test_events_are_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    volumes = make(tmp_path, on_event=lambda action, name, attributes: told.append((action, name)))
    volumes.acquire("c1", "data")
    volumes.acquire("c2", "data")
    for container in ("c1", "c2"):
        volumes.mount("data", container, told={"destination": "/data"})
    for container in ("c1", "c2"):
        volumes.unmount(container, tell=True)
        volumes.unmount(container, tell=True)
        volumes.release(container)
    volumes.remove("data")
    actions = ("create", "mount", "mount", "unmount", "unmount", "destroy")
    assert told == [(action, "data") for action in actions]


def image(tmp_path: Path) -> str:
    root = tmp_path / "image"
    (root / "data" / "sub").mkdir(parents=True)
    (root / "data" / "file").write_text("content")
    os.chmod(root / "data" / "file", 0o4751)
    os.symlink("/etc/passwd", root / "data" / "link")
    os.symlink("/data", root / "jump")
    os.chmod(root / "data", 0o1770)
    return str(root)


def test_copy_up_keeps_content_modes_and_links(volumes: Volumes, tmp_path: Path) -> None:
    path = Path(volumes.acquire("c", "data")["Mountpoint"])
    root = image(tmp_path)
    if os.geteuid() == 0:
        os.chown(os.path.join(root, "data"), 1000, 1001)
    assert volumes.needs_content("data")
    assert volumes.populate("data", root, "/data")
    assert (path / "file").read_text() == "content"
    assert (path / "file").stat().st_mode & 0o7777 == 0o4751
    assert os.readlink(path / "link") == "/etc/passwd"
    assert path.stat().st_mode & 0o7777 == 0o1770
    if os.geteuid() == 0:
        assert (path.stat().st_uid, path.stat().st_gid) == (1000, 1001)
    assert not volumes.needs_content("data")
    (path / "file").unlink()
    assert not volumes.populate("data", root, "/data")
    assert not (path / "file").exists()


@pytest.mark.parametrize("destination", ["/missing", "/data/file", "/../../missing"])
def test_an_image_without_the_folder_is_no_error(
    volumes: Volumes, tmp_path: Path, destination: str
) -> None:
    volumes.acquire("c", "data")
    assert not volumes.populate("data", image(tmp_path), destination)


@pytest.mark.parametrize("destination", ["/../../../../etc", "/escape", "/escape/.."])
def test_copy_up_never_leaves_the_image(volumes: Volumes, tmp_path: Path, destination: str) -> None:
    root = image(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "secret").write_text("x")
    os.symlink("../../../../../../../../.." + str(tmp_path / "etc"), os.path.join(root, "escape"))
    path = Path(volumes.acquire("c", "data")["Mountpoint"])
    volumes.populate("data", root, destination)
    assert not (path / "secret").exists() and not (path / "passwd").exists()


def test_links_inside_the_image_are_followed(volumes: Volumes, tmp_path: Path) -> None:
    path = Path(volumes.acquire("c", "data")["Mountpoint"])
    assert volumes.populate("data", image(tmp_path), "/jump")
    assert (path / "file").exists()


def test_an_interrupted_copy_up_starts_again(volumes: Volumes, tmp_path: Path) -> None:
    path = volumes.acquire("c", "data")["Mountpoint"]
    os.mkdir(path + ".partial")
    Path(path + ".partial", "half").write_text("x")
    assert volumes.populate("data", image(tmp_path), "/data")
    assert sorted(os.listdir(path)) == ["file", "link", "sub"]
    assert os.listdir(os.path.dirname(path)) == ["_data"]


def test_a_copy_up_that_moved_half_goes_on_from_there(volumes: Volumes, tmp_path: Path) -> None:
    path = Path(volumes.acquire("c", "data")["Mountpoint"])
    (path / "moved").write_text("x")
    rest = path.with_name("_data.complete")
    (rest / "sub").mkdir(parents=True)
    (rest / "sub" / "other").write_text("y")
    rest.chmod(0o750)
    assert volumes.needs_content("data")
    assert volumes.populate("data", image(tmp_path), "/data")
    assert sorted(os.listdir(path)) == ["moved", "sub"]
    assert path.stat().st_mode & 0o7777 == 0o750
    assert not volumes.needs_content("data")


def test_copy_up_fills_the_very_folder_that_others_have_open(
    volumes: Volumes, tmp_path: Path
) -> None:
    path = volumes.acquire("c", "data")["Mountpoint"]
    held = os.open(path, os.O_RDONLY)
    try:
        assert volumes.populate("data", image(tmp_path), "/data")
        assert sorted(os.listdir(held)) == ["file", "link", "sub"]
        assert os.path.samestat(os.fstat(held), os.stat(path))
    finally:
        os.close(held)


def test_what_others_put_into_the_volume_meanwhile_stays(tmp_path: Path) -> None:
    for name in ("origin", "volume"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / name).write_text(name)
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "origin" / "taken").mkdir()
    (tmp_path / "origin" / "taken" / "below").write_text("")
    (tmp_path / "volume" / "taken").symlink_to(tmp_path / "origin")
    os.chmod(tmp_path / "volume" / "sub", 0o711)
    opened = [os.open(tmp_path / name, os.O_RDONLY) for name in ("origin", "volume")]
    copy_tree(*opened)
    for descriptor in opened:
        os.close(descriptor)
    volume = tmp_path / "volume"
    assert (volume / "file").read_text() == "volume"
    assert sorted(os.listdir(volume / "sub")) == ["origin", "volume"]
    assert (volume / "sub").stat().st_mode & 0o777 == 0o711
    assert (volume / "taken").is_symlink()
    assert not (tmp_path / "origin" / "below").exists()


def test_a_crash_during_remove_brings_the_volume_back(volumes: Volumes, tmp_path: Path) -> None:
    path = Path(volumes.create({"Name": "data"})["Mountpoint"])
    (path / "file").write_text("x")
    volumes._local.remove("data", {})  # the crash: the store still has the volume
    again = make(tmp_path)
    again.reconcile([], [])
    assert (path / "file").read_text() == "x"


def test_a_crash_before_the_purge_leaves_nothing(volumes: Volumes, tmp_path: Path) -> None:
    volumes.create({"Name": "data"})
    volumes._local.remove("data", {})
    volumes._records.delete("data")
    again = make(tmp_path)
    again.reconcile([], [])
    assert os.listdir(tmp_path / "volumes") == []


steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "mount", "unmount", "release", "crash"]),
        st.sampled_from(["c1", "c2", "c3"]),
        st.sampled_from(["one", "two"]),
    ),
    max_size=30,
)


@given(steps)
def test_references_stay_right_through_crashes(steps: list[tuple[str, str, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        volumes = make(Path(folder))
        refers: dict[str, set[str]] = {}
        mounted: dict[str, set[str]] = {}
        for action, container, name in steps:
            match action:
                case "acquire":
                    volumes.acquire(container, name)
                    refers.setdefault(container, set()).add(name)
                case "mount" if name in refers.get(container, ()):
                    volumes.mount(name, container)
                    mounted.setdefault(container, set()).add(name)
                case "unmount":
                    volumes.unmount(container)
                    mounted.pop(container, None)
                case "release":
                    volumes.release(container)
                    refers.pop(container, None)
                    mounted.pop(container, None)
                case "crash":
                    volumes = make(Path(folder))
                    volumes.reconcile(list(refers), list(mounted))
        for name in ("one", "two"):
            assert set(volumes._records.references(name)) == {
                c for c, held in refers.items() if name in held
            }
            assert set(volumes._records.users(name)) == {
                c for c, held in mounted.items() if name in held
            }
