"""Removal at any depth, of anything, that never goes through a link."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trees import DEPTH, NAMES, TREES, build, deepen, empty_directory, open_count

from wherry.errors import KernelError
from wherry.fs.measuring import disk_usage, disk_usage_of
from wherry.fs.removing import remove_path, remove_tree, set_aside


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    empty_directory(descriptor)
    os.close(descriptor)


def test_a_tree_deeper_than_any_path_is_measured_and_removed(top: int) -> None:
    deepen(top, DEPTH)
    before = open_count(top)
    assert disk_usage(top) == 0
    assert disk_usage(top, directories=True) > 0
    remove_tree(top, "d")
    assert os.listdir(top) == []
    assert open_count(top) == before


def test_what_a_link_points_at_stays(tmp_path: Path, top: int) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "directory").symlink_to(outside)
    (victim / "file").symlink_to(outside / "kept")
    os.mkfifo(victim / "fifo")
    remove_path(str(victim))
    assert not victim.exists()
    assert (outside / "kept").read_text() == "kept"
    (tmp_path / "link").symlink_to(outside)
    remove_tree(top, "link")
    assert not (tmp_path / "link").is_symlink()
    assert (outside / "kept").read_text() == "kept"


def test_nothing_to_remove_is_no_error(tmp_path: Path, top: int) -> None:
    remove_tree(top, "missing")
    remove_path(str(tmp_path / "missing" / "below"))
    assert disk_usage_of(str(tmp_path / "missing")) == 0


def test_a_failure_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match="file/below"):
        remove_path(str(tmp_path / "file" / "below"))


def test_set_aside_then_remove(tmp_path: Path, top: int) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "one" / "two").mkdir(parents=True)
    private = os.open(tmp_path / "private", os.O_RDONLY | os.O_DIRECTORY)
    aside = set_aside(top, "one", private)
    assert aside is not None
    assert not (tmp_path / "one").exists()
    assert (tmp_path / "private" / aside / "two").is_dir()
    assert set_aside(top, "one", private) is None
    os.close(private)


def weight(tree: object) -> int:
    """One byte for each file, two for each link."""
    if isinstance(tree, dict):
        return sum(map(weight, tree.values()))
    return {"file": 1, "link": 2, "fifo": 0}[str(tree)]


@settings(max_examples=100, deadline=None)
@given(tree=st.dictionaries(NAMES, TREES, max_size=4))
def test_random_trees_are_measured_and_removed(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.mkdir("t", dir_fd=top)
        inner = os.open("t", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
        build(inner, tree)
        assert disk_usage(inner) == weight(tree)
        os.close(inner)
        remove_tree(top, "t")
        assert os.listdir(top) == []
    finally:
        os.close(top)
