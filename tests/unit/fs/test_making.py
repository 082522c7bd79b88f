"""Making and describing files through descriptors: no link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.trees import DEPTH, deepen, empty_directory

from wherry.errors import KernelError
from wherry.fs.copying import copy_tree
from wherry.fs.making import (
    Metadata,
    attributes,
    describe,
    describe_name,
    make_directory,
    make_file,
    set_mode,
)
from wherry.fs.opening import open_in_root, open_path, within_reach
from wherry.fs.placing import private_directory, put_in_place
from wherry.fs.removing import remove_tree


@pytest.fixture
def top(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    empty_directory(descriptor)
    os.close(descriptor)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_link_in_the_way_is_an_error(tmp_path: Path, top: int) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to("outside")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        with pytest.raises(FileExistsError):
            make_file(top, name)
        with pytest.raises(FileExistsError):
            make_directory(top, name)
    assert list((tmp_path / "outside").iterdir()) == []
    assert not (tmp_path / "nowhere").exists()


def test_modes_of_links_are_left_alone(tmp_path: Path, top: int) -> None:
    (tmp_path / "secret").write_text("")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "link").symlink_to("secret")
    set_mode(top, "link", 0o4777)
    describe_name(top, "link", Metadata(0o4777, os.getuid(), os.getgid(), 1_000_000_000))
    assert mode_of(tmp_path / "secret") == 0o600
    assert (tmp_path / "link").lstat().st_mtime_ns == 1_000_000_000
    assert (tmp_path / "secret").lstat().st_mtime_ns != 1_000_000_000


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).write_text("")])
def test_modes_of_all_kinds(tmp_path: Path, top: int, make: object) -> None:
    make(tmp_path / "one")  # type: ignore[operator]
    set_mode(top, "one", 0o7351)
    assert mode_of(tmp_path / "one") == 0o7351


def test_everything_about_an_open_file(tmp_path: Path, top: int) -> None:
    file = make_file(top, "file")
    key = ("user.test", b"value")
    describe(file, Metadata(0o4755, os.getuid(), os.getgid(), 5_000_000_001, (key,)))
    assert mode_of(tmp_path / "file") == 0o4755
    assert (tmp_path / "file").stat().st_mtime_ns == 5_000_000_001
    assert key in attributes(file)
    with pytest.raises(OSError):
        describe(file, Metadata(0o644, os.getuid(), os.getgid(), 0, (("user." + "n" * 300, b""),)))
    os.close(file)


def test_a_path_longer_than_the_kernel_takes_is_opened(tmp_path: Path, top: int) -> None:
    deepen(top, DEPTH)
    path = "d/" * DEPTH
    found = open_in_root(top, path, os.O_RDONLY | os.O_DIRECTORY)
    assert os.listdir(found) == ["leaf"]
    os.close(found)
    with pytest.raises(KernelError, match="ENOENT"):
        open_in_root(top, path + "missing", os.O_RDONLY)
    with pytest.raises(KernelError, match="ENAMETOOLONG"):
        open_in_root(top, "d/" * 10_000, os.O_RDONLY)
    with pytest.raises(KernelError, match="ENAMETOOLONG"):
        open_in_root(top, "d" * 5000, os.O_RDONLY)


def test_long_paths_of_our_own_are_within_reach(tmp_path: Path, top: int) -> None:
    deepen(top, DEPTH)
    path = f"{tmp_path}/{'d/' * DEPTH}leaf"
    os.close(open_path(path, os.O_RDONLY))
    with within_reach(path) as near:
        assert stat.S_ISREG(os.lstat(near).st_mode)
    with within_reach(str(tmp_path)) as near:
        assert near == str(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_path(f"{path}-missing", os.O_RDONLY)


def test_a_deep_tree_is_copied(tmp_path: Path, top: int) -> None:
    source, target = make_directory(top, "source"), make_directory(top, "target")
    deepen(source, DEPTH)
    copy_tree(source, target)
    found = open_in_root(target, "d/" * DEPTH, os.O_RDONLY | os.O_DIRECTORY)
    assert os.listdir(found) == ["leaf"]
    for descriptor in (found, source, target):
        os.close(descriptor)


def test_a_copy_has_modes_links_and_contents(tmp_path: Path, top: int) -> None:
    source, target = make_directory(top, "source", 0o711), make_directory(top, "target")
    (tmp_path / "source" / "sub").mkdir()
    (tmp_path / "source" / "sub").chmod(0o1750)
    (tmp_path / "source" / "sub" / "file").write_text("text")
    (tmp_path / "source" / "sub" / "file").chmod(0o4711)
    (tmp_path / "source" / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "source" / "fifo")
    copy_tree(source, target)
    copied = tmp_path / "target"
    assert mode_of(copied) == 0o711
    assert mode_of(copied / "sub") == 0o1750
    assert mode_of(copied / "sub" / "file") == 0o4711
    assert (copied / "sub" / "file").read_text() == "text"
    assert (copied / "link").readlink() == Path("/etc/passwd")
    assert not (copied / "fifo").exists()
    os.close(source)
    os.close(target)


def test_what_is_made_privately_appears_whole_or_not_at_all(tmp_path: Path, top: int) -> None:
    with private_directory(top) as (name, private):
        assert mode_of(tmp_path / name) == 0o700
        for _ in range(2):
            inner = make_directory(private, "new")
            os.close(make_file(inner, "file"))
            os.close(inner)
            if not put_in_place(private, "new", top, "final"):
                break
        else:
            raise AssertionError("a directory that is not empty was replaced")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final"]
    remove_tree(top, "final")
