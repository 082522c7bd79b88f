"""Somebody who may write in a directory puts links into it between any two system calls.

An audit hook of the interpreter (PEP 578) is told of each call that opens or changes a file just
before it is made, and swaps names then: the worst race there can be, at every place there is.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.trees import empty_directory

from wherry.errors import WherryError
from wherry.fs.copying import copy_tree
from wherry.fs.making import Metadata, describe_name, set_mode
from wherry.fs.measuring import disk_usage
from wherry.fs.removing import remove_tree
from wherry.storage.archive.extract import Extractor
from wherry.storage.archive.reader import TarReader
from wherry.storage.archive.stream import ByteStream
from wherry.storage.archive.writer import tar_tree

SECRET = b"a secret of the host"


class Adversary:
    """Swaps what is in ``arena``, and one level below, for links to ``outside``."""

    def __init__(self) -> None:
        self.arena = ""
        self.stash = ""
        self.outside: list[str] = []
        self.swaps = 0
        self._busy = False

    def hook(self, event: str, arguments: tuple[object, ...]) -> None:
        """Before each call."""
        if not self.arena or self._busy or not event.startswith(("os.", "open", "shutil.")):
            return
        self._busy = True
        try:
            for name in self._names():
                self._swap(name)
        except OSError:
            pass
        finally:
            self._busy = False

    def _names(self) -> list[str]:
        names = []
        for directory, folders, files in os.walk(self.arena):
            names += [os.path.join(directory, name) for name in (*folders, *files)]
        return names

    def _swap(self, path: str) -> None:
        if os.path.islink(path):
            return
        self.swaps += 1
        os.rename(path, f"{self.stash}/{self.swaps}")
        os.symlink(self.outside[self.swaps % len(self.outside)], path)


ADVERSARY = Adversary()
sys.addaudithook(ADVERSARY.hook)  # for the life of the process: it is idle without an arena


def described(top: Path) -> dict[str, tuple[object, ...]]:
    """All about a tree but its access times."""
    found = {}
    for path in (top, *sorted(top.rglob("*"))):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ino,
            content, tuple(os.listxattr(path)),
        )  # fmt: skip
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A place that nobody may touch."""
    made = tmp_path / "outside"
    (made / "sub" / "below").mkdir(parents=True)
    (made / "sub" / "file").write_bytes(SECRET)
    (made / "file").write_bytes(SECRET)
    (made / "file").chmod(0o600)
    made.chmod(0o700)
    return made


@pytest.fixture
def arena(tmp_path: Path, outside: Path) -> Iterator[int]:
    """A directory where the adversary plays, once `attacked` is entered."""
    made = tmp_path / "arena"
    made.mkdir()
    (tmp_path / "stash").mkdir()
    descriptor = os.open(made, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def attack(tmp_path: Path, work: Callable[[], object]) -> None:
    """Do ``work`` under attack; nothing outside may be changed, read or removed."""
    outside = tmp_path / "outside"
    before = described(outside)
    ADVERSARY.outside = [str(outside), str(outside / "file"), str(outside / "sub")]
    ADVERSARY.stash = str(tmp_path / "stash")
    ADVERSARY.swaps = 0
    ADVERSARY.arena = str(tmp_path / "arena")
    try:
        work()
    except (OSError, WherryError):
        pass
    finally:
        ADVERSARY.arena = ""
    assert ADVERSARY.swaps > 0, "the adversary had no chance"
    assert described(outside) == before


def archive() -> bytes:
    """Entries of every kind, with modes that would give a host away."""
    made = io.BytesIO()
    kinds = (tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE)
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(12):
            for kind in kinds:
                for folder in ("", "deep/er/"):
                    member = tarfile.TarInfo(f"{folder}{kind.decode()}-{number}")
                    member.type, member.mode, member.mtime = kind, 0o4777, 12345
                    member.uid = member.gid = 1234
                    member.linkname = "somewhere" if kind == tarfile.SYMTYPE else ""
                    member.pax_headers = {"SCHILY.xattr.user.evil": "1"}
                    tar.addfile(member)
    return made.getvalue()


def extract(root: int, data: bytes) -> None:
    Extractor(root, owner=None).extract(TarReader(ByteStream(iter([data]), "archive")))


def test_the_adversary_wins_against_calls_that_follow_links(tmp_path: Path, arena: int) -> None:
    def naive() -> None:
        os.mkdir("made", dir_fd=arena)
        os.chmod("made", 0o4777, dir_fd=arena)

    with pytest.raises(AssertionError, match="outside"):
        attack(tmp_path, naive)


def test_extraction(tmp_path: Path, arena: int) -> None:
    data = archive()
    whole = io.BytesIO(data)
    attack(tmp_path, lambda: extract(arena, data))
    with tarfile.open(fileobj=whole) as tar:  # and entry by entry: one failure ends an extraction
        members = tar.getmembers()
    for member in members:
        one = io.BytesIO()
        with tarfile.open(fileobj=one, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(member)
        ADVERSARY.swaps = 0
        before = described(tmp_path / "outside")
        ADVERSARY.arena = str(tmp_path / "arena")
        try:
            extract(arena, one.getvalue())
        except (OSError, WherryError):
            pass
        finally:
            ADVERSARY.arena = ""
        assert described(tmp_path / "outside") == before
        empty_directory(arena)


@pytest.fixture
def filled(tmp_path: Path, arena: int) -> int:
    """The arena with a tree in it."""
    for number in range(8):
        folder = tmp_path / "arena" / f"d{number}" / "inner" / "most"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"own")
        (tmp_path / "arena" / f"f{number}").write_bytes(b"own")
    return arena


@pytest.mark.parametrize("name", ["d0", "d0/inner", "f0"])
def test_removal_of_one(tmp_path: Path, filled: int, name: str) -> None:
    above = os.open(os.path.dirname(name) or ".", os.O_RDONLY, dir_fd=filled)
    attack(tmp_path, lambda: remove_tree(above, os.path.basename(name)))
    os.close(above)


def test_removal(tmp_path: Path, filled: int) -> None:
    attack(tmp_path, lambda: empty_directory(filled))


def test_modes_and_owners(tmp_path: Path, filled: int) -> None:
    attack(tmp_path, lambda: set_mode(filled, "f0", 0o4777))


def test_descriptions(tmp_path: Path, filled: int) -> None:
    def work() -> None:
        for name in os.listdir(filled):
            describe_name(filled, name, Metadata(0o4777, 1234, 1234, 12345))

    attack(tmp_path, work)


def test_copying_into_it(tmp_path: Path, arena: int) -> None:
    origin = tmp_path / "origin"
    for number in range(5):
        (origin / f"sub{number}" / "below").mkdir(parents=True)
        (origin / f"sub{number}" / "file").write_bytes(b"new")
        (origin / f"sub{number}" / "below").chmod(0o4777)
    source = os.open(origin, os.O_RDONLY)
    attack(tmp_path, lambda: copy_tree(source, arena))
    os.close(source)


def test_reading_it(tmp_path: Path, filled: int) -> None:
    read = bytearray()

    def work() -> None:
        disk_usage(filled)
        for piece in tar_tree(filled):
            read.extend(piece)

    attack(tmp_path, work)
    assert SECRET not in read


def test_copying_from_it(tmp_path: Path, filled: int) -> None:
    (tmp_path / "copy").mkdir()
    target = os.open(tmp_path / "copy", os.O_RDONLY)
    attack(tmp_path, lambda: copy_tree(filled, target))
    os.close(target)
    assert all(path.read_bytes() != SECRET for path in (tmp_path / "copy").rglob("*")
               if path.is_file() and not path.is_symlink())  # fmt: skip
