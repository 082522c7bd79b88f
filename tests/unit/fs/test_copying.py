"""Copies of trees."""

import os
from pathlib import Path

import pytest

from wherry.fs.copying import copy_tree

TERABYTE = 1 << 40


def copied(tmp_path: Path) -> Path:
    target = tmp_path / "target"
    target.mkdir()
    ends = [os.open(tmp_path / name, os.O_PATH | os.O_DIRECTORY) for name in ("origin", "target")]
    try:
        copy_tree(*ends)
    finally:
        for end in ends:
            os.close(end)
    return target


@pytest.mark.parametrize(
    "data",
    [
        {},
        {0: b"begin"},
        {TERABYTE // 2: b"amid"},
        {TERABYTE - 3: b"end"},
        {5: b"x" * 100_000, 1 << 30: b"y" * 3_000_000},
    ],
)
def test_holes_stay_holes(tmp_path: Path, data: dict[int, bytes]) -> None:
    """A file may say that it is longer than any disk."""
    (tmp_path / "origin").mkdir()
    with (tmp_path / "origin" / "file").open("wb") as file:
        for offset, piece in data.items():
            file.seek(offset)
            file.write(piece)
        file.truncate(TERABYTE)
    copy = copied(tmp_path) / "file"
    found = copy.stat()
    assert found.st_size == TERABYTE
    assert found.st_blocks * 512 < 8 << 20
    with copy.open("rb") as file:
        for offset, piece in data.items():
            file.seek(offset)
            assert file.read(len(piece)) == piece
