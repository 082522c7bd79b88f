"""Trees as archives and back: the same tree, whatever it is."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trees import DEPTH, NAMES, TREES, build, deepen, empty_directory

from wherry.errors import InvalidParameter, KernelError
from wherry.fs.opening import LONGEST_PATH
from wherry.storage.archive import extract, header
from wherry.storage.archive.extract import Extractor
from wherry.storage.archive.header import Entry, pack
from wherry.storage.archive.reader import TarReader
from wherry.storage.archive.stream import ByteStream
from wherry.storage.archive.writer import END, tar_tree


def unpack(root: int, data: bytes) -> None:
    Extractor(root).extract(TarReader(ByteStream(iter([data]), "archive")))


@pytest.fixture
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int]:
    return _two(tmp_path_factory)


def _two(factory: pytest.TempPathFactory) -> tuple[int, int]:
    first, second = (os.open(factory.mktemp("tree"), os.O_RDONLY) for _ in range(2))
    return first, second


@settings(max_examples=60, deadline=None)
@given(tree=st.dictionaries(NAMES, TREES, max_size=4))
def test_random_trees_come_back(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]
) -> None:
    first, second = _two(tmp_path_factory)
    build(first, tree)
    archive = b"".join(tar_tree(first))
    unpack(second, archive)
    assert b"".join(tar_tree(second)) == archive
    for directory in (first, second):
        empty_directory(directory)
        os.close(directory)


def test_a_deep_tree_comes_back(two: tuple[int, int]) -> None:
    deepen(two[0], DEPTH)
    archive = b"".join(tar_tree(two[0]))
    unpack(two[1], archive)
    assert b"".join(tar_tree(two[1])) == archive
    for directory in two:
        empty_directory(directory)
        os.close(directory)


def test_a_tree_that_no_archive_could_be_read_of_is_refused(two: tuple[int, int]) -> None:
    deepen(two[0], LONGEST_PATH // 200 + 1, "d" * 200)
    with pytest.raises(KernelError, match="ENAMETOOLONG"):
        b"".join(tar_tree(two[0]))
    for directory in two:
        empty_directory(directory)
        os.close(directory)


def test_directories_that_are_not_listed_are_counted(
    two: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "_IMPLIED", 10)
    entries = [pack(Entry(b"d/" * 6 + b"%d/f" % one, header.REGULAR, 0o644, 0, 0, 0, 0))
               for one in range(5)]  # fmt: skip
    with pytest.raises(InvalidParameter, match="more than 10 directories"):
        unpack(two[0], b"".join([*entries, END]))
    for directory in two:
        empty_directory(directory)
        os.close(directory)
