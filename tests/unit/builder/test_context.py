import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tests.trees import empty_directory
from tests.unit.builder.trees import tree

from wherry.builder import fetch
from wherry.builder.context import TarTree, copy_decompressed, unpack
from wherry.builder.fetch import GitSource, begins_archive, is_git, is_remote
from wherry.builder.layertree import LayerTree
from wherry.builder.trees import Entry, Kind, walk
from wherry.errors import InvalidParameter, Unavailable
from wherry.fs.descent import descending


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return out.getvalue()


def opened(data: bytes) -> TarTree:
    file = tempfile.TemporaryFile()  # noqa: SIM115  the tree owns it
    copy_decompressed(io.BytesIO(data), file, 1 << 30)
    file.seek(0)
    return TarTree(file)


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
)
def test_all_compressions(compress: object) -> None:
    assert callable(compress)
    assert opened(compress(archive("a", "d/b"))).children("") == ["a", "d"]


@pytest.mark.parametrize("data", [b"no archive at all" * 50, gzip.compress(b"x" * 600)])
def test_no_archive(data: bytes) -> None:
    with pytest.raises(InvalidParameter, match="read build context"):
        opened(data)


def test_a_torn_stream_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="read build context"):
        opened(gzip.compress(archive("a") * 20)[:-30])


def test_a_decompression_bomb_stops() -> None:
    bomb = gzip.compress(bytes(1 << 24))
    with pytest.raises(InvalidParameter, match="larger than 1000 bytes"):
        copy_decompressed(io.BytesIO(bomb), io.BytesIO(), 1000)


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "./etc/x", "etc/../../etc/x"])
def test_names_stay_inside(name: str) -> None:
    found = opened(archive(name))
    assert found.entry("etc/x") is not None
    assert found.children("") == ["etc"]


def test_later_entries_replace_earlier_ones() -> None:
    found = tree({"d/a": "1", "d": "now a file", "e": "file", "e/x": "2", "f": "1"})
    assert found.entry("d/a") is None
    entry = found.entry("e")
    assert entry is not None
    assert entry.kind is Kind.DIRECTORY
    assert found.open("d").read() == b"now a file"


def test_hard_links_share_content() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("a")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("b")
        link.type, link.linkname = tarfile.LNKTYPE, "a"
        tar.addfile(link)
    assert opened(out.getvalue()).open("b").read() == b"abc"


def test_a_hard_link_to_nowhere_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("b")
        link.type, link.linkname = tarfile.LNKTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(InvalidParameter, match="the hard link leads to no file"):
        opened(out.getvalue())


def test_exclude() -> None:
    found = tree({"a.o": "", "src/b.c": "", "src/b.o": "", "out/x": "", "out/keep": ""})
    found.exclude(["**/*.o", "out", "!out/keep"])
    assert found.children("") == ["out", "src"]
    assert found.children("out") == ["keep"]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield directory
    os.close(directory)


def test_unpack(tmp_path: Path, target: int) -> None:
    unpack(tree({"d/f": "text", "d/l": ("->", "/etc/passwd"), "d/e": None, "g": ""}), "d", target)
    assert (tmp_path / "f").read_text() == "text"
    assert os.readlink(tmp_path / "l") == "/etc/passwd"
    assert sorted(os.listdir(target)) == ["e", "f", "l"]


def test_a_tree_of_any_depth_is_unpacked(target: int) -> None:
    depth = 1900
    unpack(tree({"/".join("d" * depth): "deep"}), "", target)
    with descending(target) as below:
        for _ in range(depth - 1):
            below.enter("d")
        assert os.listdir(below.directory) == ["d"]
    empty_directory(target)


@given(
    st.dictionaries(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join),
        st.one_of(st.just(""), st.just("text"), st.none(), st.just(("->", "/etc"))),
        max_size=12,
    )
)
def test_what_is_unpacked_is_what_the_tree_lists(files: dict[str, Any]) -> None:
    found = tree(files)
    with tempfile.TemporaryDirectory() as folder:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            unpack(found, "", directory)
        finally:
            os.close(directory)
        made = LayerTree([folder])
        assert list(walk(made, "")) == list(walk(found, ""))
        for path in walk(found, ""):
            before, after = found.entry(path), made.entry(path)
            assert before is not None and after is not None
            assert (before.kind, before.target, before.mode) == (
                after.kind,
                after.target,
                after.mode,
            )


def test_removing_from_a_tree_knows_no_depth() -> None:
    found = tree({"/".join("d" * 1900): "deep", "f": ""})
    found.insert("d", Entry(Kind.FILE, 0o644), 0)
    assert found.children("") == ["d", "f"]
    assert list(walk(found, "")) == ["d", "f"]


def test_archives_are_known_by_content() -> None:
    assert begins_archive(io.BytesIO(gzip.compress(archive("a"))))
    assert not begins_archive(io.BytesIO(gzip.compress(b"text")))
    assert not begins_archive(io.BytesIO(b""))
    assert not begins_archive(io.BytesIO(b"\x1f\x8b\x08 broken"))


@pytest.mark.parametrize(
    ("source", "git", "remote"),
    [
        ("https://example.org/x.git", True, True),
        ("https://example.org/x.git#main:dir", True, True),
        ("git@example.org:x/y.git", True, True),
        ("git://example.org/x", True, True),
        ("ssh://git@example.org/x", True, True),
        ("github.com/a/b", True, True),
        ("https://example.org/x.tar", False, True),
        ("a/b.git", False, False),
        ("ext::sh -c id", False, False),
        ("file:///etc", False, False),
    ],
)
def test_kinds_of_sources(source: str, git: bool, remote: bool) -> None:
    assert (is_git(source), is_remote(source)) == (git, remote)


async def test_a_reference_that_a_repository_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def git(_: str, command: str, *arguments: str) -> str:
        if (command == "fetch" and "nope" in arguments) or command in ("rev-parse", "checkout"):
            raise Unavailable(f"git {command} failed: fatal: what git says")
        return ""

    monkeypatch.setattr(fetch, "_git", git)
    async with AsyncExitStack() as stack:
        with pytest.raises(Unavailable, match="contain ref nope"):
            await fetch.git_tree("git://host/r#nope", str(tmp_path), stack)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/r.git", ("https://h/r.git", "", "")),
        ("https://h/r.git#v1.0:sub/dir", ("https://h/r.git", "v1.0", "sub/dir")),
        ("github.com/a/b#main", ("https://github.com/a/b", "main", "")),
        ("git@h:r.git#:sub", ("git@h:r.git", "", "sub")),
    ],
)
def test_git_source(text: str, expected: tuple[str, str, str]) -> None:
    source = GitSource.parse(text)
    assert (source.repository, source.reference, source.directory) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://h/r.git#--upload-pack=id",
        "https://h/r.git#-x",
        "https://h/r.git#a..b",
        "--upload-pack=id",
        "ext::sh -c id",
        "file:///srv/r.git",
    ],
)
def test_unsafe_git_sources_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid git"):
        GitSource.parse(text)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_tree_or_refused(data: bytes) -> None:
    try:
        opened(data)
    except InvalidParameter as error:
        assert "read build context" in str(error)


def test_a_sparse_file_is_refused_in_words() -> None:
    # As `tar -S --format=pax` writes one of 100 bytes with data at 50.
    data = b"1\n50\n50\n".ljust(512, b"\0") + b"x" * 50
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("sparse")
        member.size = len(data)
        records = {"major": "1", "minor": "0", "name": "sparse", "realsize": "100"}
        member.pax_headers = {f"GNU.sparse.{key}": value for key, value in records.items()}
        tar.addfile(member, io.BytesIO(data))
    with pytest.raises(InvalidParameter, match="sparse files are not read"):
        opened(out.getvalue())


def test_digests_of_small_and_large_files_are_those_of_their_content() -> None:
    contents = {"small": b"s" * 10, "empty": b"", "large": b"l" * 100_000}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    tree = opened(out.getvalue())
    for name, content in contents.items():
        assert tree.digest(name) == hashlib.sha256(content).hexdigest()
        assert tree.open(name).read() == content
