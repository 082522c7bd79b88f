"""Where a cgroup lies: no text leads out of the hierarchy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.linux.cgroups import Cgroup, Layout, below, clean
from wherry.runtime.oci.create import cgroup_path

LAYOUT = Layout((("pids", "/c/pids"),), "/c/unified", ())


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("a", "/a"),
        ("/a/b/", "/a/b"),
        ("../../../../X", "/X"),
        ("/../../../../X", "/X"),
        ("a/../../..", "/"),
        ("//a//./b", "/a/b"),
        ("", "/"),
    ],
)
def test_clean(asked: str, path: str) -> None:
    assert clean(asked) == path


@pytest.mark.parametrize("asked", ["a\0b", "a\nb"])
def test_no_file_of_that_name(asked: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid cgroup path"):
        clean(asked)


@given(st.text("./ab-", max_size=20))
def test_every_directory_lies_in_its_hierarchy(asked: str) -> None:
    group = Cgroup(below(asked, "id"), LAYOUT)
    for directory, point in zip(group.directories(), LAYOUT.hierarchies(), strict=True):
        assert directory.startswith(f"{point}/") and directory.endswith("/id")
        assert ".." not in directory.split("/") and "//" not in directory


@pytest.mark.parametrize("path", ["", "/", "..", "/a/.."])
def test_nothing_is_done_to_the_root_of_the_hierarchy(path: str) -> None:
    with pytest.raises(InvalidParameter, match="the root of the hierarchy"):
        Cgroup(path, LAYOUT)


@pytest.mark.parametrize(
    ("asked", "systemd", "path"),
    [
        ("", False, "/wherry-oci/c"),
        ("/../../x", False, "/x"),
        ("../../x", False, "/wherry-oci/x"),
        ("a-b.slice:pod:c", True, "/a.slice/a-b.slice/pod-c.scope"),
        ("../../..:../../..:../../x", True, "/x.scope"),
    ],
)
def test_oci_bundles(asked: str, systemd: bool, path: str) -> None:
    assert cgroup_path({"linux": {"cgroupsPath": asked}}, "c", systemd) == path
