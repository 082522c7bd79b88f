"""What ``--squash`` puts into the one layer."""

from __future__ import annotations

import os
from pathlib import Path

from tests.trees import deepen, empty_directory

from wherry.builder.layertree import LayerTree
from wherry.builder.squash import _changes


def layer(path: Path, files: dict[str, str]) -> str:
    """A layer's directory; all directories in it look the same."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    path.mkdir(exist_ok=True)
    return str(path)


def test_changed_files_with_the_directories_above_them(tmp_path: Path) -> None:
    base = layer(tmp_path / "base", {"a/b/c/file": "1", "a/b/kept": "2", "a/x/y": "3", "z/w": "4"})
    top = layer(tmp_path / "top", {"a/b/c/file": "new", "a/b/c/more": "5", "n/m/file": "6"})
    os.mknod(tmp_path / "top" / "a" / "b" / "kept", 0o020600, 0)
    found = _changes(LayerTree([base]), LayerTree([base, top]))
    assert [item.path for item in found] == [
        "a", "a/b", "a/b/.wh.kept", "a/b/c", "a/b/c/file", "a/b/c/more", "n", "n/m", "n/m/file",
    ]  # fmt: skip


def test_an_unchanged_directory_after_a_changed_one_is_left_out(tmp_path: Path) -> None:
    base = layer(tmp_path / "base", {"a/b/c/file": "1", "d/e/f/g": "2", "h/file": "3"})
    top = layer(tmp_path / "top", {"a/b/new": "4", "h/new": "5"})
    found = _changes(LayerTree([base]), LayerTree([base, top]))
    assert [item.path for item in found] == ["a", "a/b", "a/b/new", "h", "h/new"]


def test_a_tree_deeper_than_any_path(tmp_path: Path) -> None:
    base, top = layer(tmp_path / "base", {}), layer(tmp_path / "top", {})
    descriptor = os.open(top, os.O_RDONLY)
    try:
        deepen(descriptor, 1100, "dddd")
        found = [item.path for item in _changes(LayerTree([base]), LayerTree([base, top]))]
        assert found[-1] == "dddd/" * 1100 + "leaf"
        assert len(found) == 1101
    finally:
        empty_directory(descriptor)
        os.close(descriptor)
