"""Walks of any depth, with few descriptors, that nobody can lead elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.trees import DEPTH, deepen, open_count

from wherry.fs.descent import descending, walk
from wherry.fs.removing import remove_tree


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    for name in os.listdir(descriptor):
        remove_tree(descriptor, name)
    os.close(descriptor)


def test_a_deep_tree_is_walked_down_and_up_with_few_descriptors(top: int) -> None:
    deepen(top, DEPTH)
    before, most = open_count(top), 0
    with descending(top) as descent:
        for level in range(DEPTH):
            descent.enter("d")
            if level % 100 == 0:
                most = max(most, open_count(top))
        assert os.listdir(descent.directory) == ["leaf"]
        while descent.depth:
            descent.leave()
        assert os.listdir(descent.directory) == ["d"]
    assert most - before < 40
    assert open_count(top) == before


def test_an_abandoned_walk_leaves_no_descriptor(top: int) -> None:
    deepen(top, 100)
    before = open_count(top)
    with descending(top) as descent:
        for _ in range(100):
            descent.enter("d")
    assert open_count(top) == before


def test_all_directories_are_seen_once(top: int) -> None:
    for path in ("a/b/c", "a/d", "e"):
        os.makedirs(f"/proc/self/fd/{top}/{path}")
    os.symlink("a", "link", dir_fd=top)
    with descending(top) as descent:
        seen = [sorted(entry.name for entry in entries) for entries in walk(descent)]
        assert descent.depth == 0
    assert seen[0] == ["a", "e", "link"]
    assert sorted(seen[1:]) == [[], [], [], ["b", "d"], ["c"]]


@pytest.mark.parametrize("cross_mounts", [True, False])
def test_a_link_is_never_entered(top: int, tmp_path: Path, cross_mounts: bool) -> None:
    os.mkdir("real", dir_fd=top)
    os.symlink("real", "link", dir_fd=top)
    with descending(top, cross_mounts=cross_mounts) as descent:
        with pytest.raises(NotADirectoryError):
            descent.enter("link")
        with pytest.raises(FileNotFoundError):
            descent.enter("missing")
        descent.enter("real")
        assert descent.depth == 1


def test_a_directory_moved_elsewhere_leads_the_way_back_nowhere(top: int) -> None:
    deepen(top, 50)
    os.mkdir("elsewhere", dir_fd=top)
    with descending(top) as descent:
        for _ in range(50):
            descent.enter("d")
            if descent.depth == 10:
                inside = os.dup(descent.directory)
        os.rename("d", "moved", src_dir_fd=inside, dst_dir_fd=top)
        os.close(inside)
        with pytest.raises(OSError, match="was moved"):
            for _ in range(50):
                descent.leave()
