"""Layers made to escape, to exhaust or to confuse: refused with a reason, and nothing is left."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.errors import InvalidParameter, WherryError
from wherry.storage.archive import header
from wherry.storage.archive.header import Entry, pack
from wherry.storage.archive.reader import Limits
from wherry.storage.archive.writer import END
from wherry.storage.layers import LayerStore
from wherry.storage.statedb import StateDB

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    db = StateDB(str(tmp_path / "state.db"))
    yield LayerStore(db, str(tmp_path / "data"))
    db.close()


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    """A file outside of every layer that must stay as it is."""
    path = tmp_path / "sentinel"
    path.write_bytes(b"untouched")
    path.chmod(0o600)
    yield path
    assert path.read_bytes() == b"untouched"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_nlink == 1


def entry(name: str | bytes, kind: bytes = header.REGULAR, **values: object) -> Entry:
    raw = name.encode() if isinstance(name, str) else name
    given: dict[str, object] = {"mode": 0o644, "uid": 0, "gid": 0, "size": 0, "mtime": 0}
    return Entry(raw, kind, **(given | values))  # type: ignore[arg-type]


def file(name: str | bytes, data: bytes = b"evil", **values: object) -> bytes:
    return pack(entry(name, size=len(data), **values)) + data + bytes(-len(data) % 512)


def symlink(name: str, target: str) -> bytes:
    return pack(entry(name, header.SYMLINK, mode=0o777, link=target.encode()))


def hard_link(name: str, target: str) -> bytes:
    return pack(entry(name, header.HARD_LINK, link=target.encode()))


def directory(name: str, mode: int = 0o755) -> bytes:
    return pack(entry(name, header.DIRECTORY, mode=mode))


def device(name: str, kind: bytes, major: int, minor: int) -> bytes:
    return pack(entry(name, kind, major=major, minor=minor))


def leftovers(store: LayerStore) -> list[str]:
    return os.listdir(store.directory)


def add(store: LayerStore, *pieces: bytes, **options: object) -> Path:
    layer = store.add([b"".join(pieces) + END], **options)  # type: ignore[arg-type]
    return Path(store.path(layer.diff_id))


REFUSED = {
    "parent": [file("../evil")],
    "deep parent": [file("a/../../evil")],
    "parent of absolute": [file("/../evil")],
    "directory outside": [directory("../evil/")],
    "symlink out": [symlink("link", "../../etc/passwd")],
    "hard link out": [hard_link("link", "../../etc/passwd")],
    "hard link to the host": [hard_link("link", "/etc/passwd")],
    "hard link through symlink": [symlink("s", "/etc"), hard_link("link", "s/passwd")],
    "hard link to directory": [directory("d/"), hard_link("link", "d")],
    "hard link to the root": [hard_link("link", "/")],
    "whiteout with ..": [file("a/../../.wh.evil")],
    "whiteout of parent": [file(".wh...")],
    "whiteout of nothing": [file(".wh.")],
    "newline path out": [file("../\nevil")],
    "NUL in a pax name": [
        pack(entry("x", header.PAX, size=16)) + b"16 path=a\0bcdef\n" + bytes(496) + file("y")
    ],
    "name of 256 bytes": [file("n" * 256)],
    "path of 20000 bytes": [file("d/" * 10_000 + "x")],
    "unknown type": [pack(entry("odd", b"V"))],
    "file as root": [file(".")],
    "symlink loop as parent": [symlink("a", "b"), symlink("b", "a"), file("a/x")],
    "dangling symlink as parent": [symlink("s", "/nowhere"), file("s/x")],
    "file as parent": [file("f"), file("f/x")],
    "symlink without target": [symlink("s", "")],
    "wrong checksum": [b"x" + file("y")[1:]],
    "owner beyond 32 bits": [file("x", uid=1 << 40)],
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_layers_are_refused_and_leave_nothing(
    store: LayerStore, sentinel: Path, name: str
) -> None:
    with pytest.raises(InvalidParameter):
        add(store, file("before"), *REFUSED[name])
    assert leftovers(store) == []
    assert store.all() == []


def test_absolute_names_stay_inside(store: LayerStore) -> None:
    tree = add(store, file("/etc/evil"))
    assert (tree / "etc/evil").read_bytes() == b"evil"
    assert not Path("/etc/evil").exists()


def test_writing_through_a_symlink_stays_inside(store: LayerStore, sentinel: Path) -> None:
    tree = add(
        store,
        directory("etc/"),
        directory(f"{sentinel.parent}/"),
        symlink("out", str(sentinel.parent)),
        symlink("rooted", "/etc"),
        file("rooted/inside"),
        file("out/sentinel"),
    )
    assert (tree / "etc/inside").read_bytes() == b"evil"
    assert (tree / str(sentinel.parent)[1:] / "sentinel").read_bytes() == b"evil"


def test_a_symlink_is_replaced_not_followed(store: LayerStore, sentinel: Path) -> None:
    tree = add(store, symlink("x", str(sentinel)), file("x", mode=0o777))
    assert not (tree / "x").is_symlink()
    assert (tree / "x").read_bytes() == b"evil"


def test_a_directory_replaced_by_a_symlink_is_forgotten(store: LayerStore, sentinel: Path) -> None:
    tree = add(store, file("d/a"), symlink("d", "/elsewhere"), directory("elsewhere/"), file("d/b"))
    assert (tree / "elsewhere/b").exists()
    assert (tree / "d").is_symlink()


def test_opaque_and_whiteouts_at_the_root(store: LayerStore) -> None:
    tree = add(store, file(".wh..wh..opq", b""), file(".wh.gone", b""), file(".wh..wh.plnk", b""))
    assert os.getxattr(tree, "user.overlay.opaque") == b"y"
    found = (tree / "gone").stat()
    assert stat.S_ISCHR(found.st_mode)
    assert found.st_rdev == 0
    assert sorted(os.listdir(tree)) == ["gone"]


def test_a_whiteout_never_hides_the_layers_own_files(store: LayerStore) -> None:
    tree = add(store, file("kept"), file(".wh.kept", b""), file(".wh.back", b""), file("back"))
    assert (tree / "kept").read_bytes() == (tree / "back").read_bytes() == b"evil"


def test_a_directory_over_a_whiteout_hides_what_is_below(store: LayerStore) -> None:
    tree = add(store, file(".wh.d", b""), file("d/x"), directory("e/"), file(".wh.e", b""))
    assert os.getxattr(tree / "d", "user.overlay.opaque") == b"y"
    assert os.getxattr(tree / "e", "user.overlay.opaque") == b"y"


def test_overlay_attributes_of_an_archive_are_dropped(store: LayerStore) -> None:
    evil = (("user.overlay.redirect", b"/other"), ("user.overlay.opaque", b"y"), ("user.ok", b"1"))
    tree = add(store, pack(entry("d/", header.DIRECTORY, mode=0o755, xattrs=evil)))
    assert os.listxattr(tree / "d") == ["user.ok"]


def test_setuid_and_file_capabilities_arrive_after_the_owner(store: LayerStore) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    tree = add(
        store,
        file("ping", mode=0o4755, uid=7, gid=8, xattrs=(("security.capability", capability),)),
    )
    found = (tree / "ping").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o4755, 7, 8)
    assert os.getxattr(tree / "ping", "security.capability") == capability


def test_devices_and_odd_names(store: LayerStore) -> None:
    odd = "line\nbreak \\ \x7f ü"
    tree = add(
        store,
        device("null", header.CHAR, 1, 3),
        device("disk", header.BLOCK_DEVICE, 7, 300),
        device("pipe", header.FIFO, 0, 0),
        file(odd),
        file(b"latin-\xe9"),
        file("n" * 255),
    )
    assert (tree / "null").stat().st_rdev == os.makedev(1, 3)
    assert (tree / "disk").stat().st_rdev == os.makedev(7, 300)
    assert stat.S_ISFIFO((tree / "pipe").stat().st_mode)
    assert (tree / odd).exists()
    assert b"latin-\xe9" in os.listdir(os.fsencode(tree))


def test_duplicates_keep_the_last_and_the_stream_can_be_made_again(store: LayerStore) -> None:
    data = b"".join(
        [file("x", b"first" * 100), file("x", b"second"), file("d/a", b"a"), file("d", b"now a file"),  # noqa: E501
         file("x", b"third"), hard_link("y", "x"), file("x", b"fourth"), END]
    )  # fmt: skip
    layer = store.add([data])
    tree = Path(store.path(layer.diff_id))
    assert (tree / "x").read_bytes() == b"fourth"
    assert (tree / "y").read_bytes() == b"third"
    assert (tree / "d").read_bytes() == b"now a file"
    assert b"".join(store.tar(layer.diff_id)) == data


def test_a_wrong_digest_leaves_nothing(store: LayerStore) -> None:
    with pytest.raises(InvalidParameter, match="expected sha256:0000"):
        add(store, file("x"), expected="sha256:" + "0" * 64)
    assert leftovers(store) == []


@pytest.mark.parametrize("cut", [100, 512, 700, 1211, 2047])
def test_truncated_archives(store: LayerStore, cut: int) -> None:
    data = file("x", b"a" * 700) + file("y", b"b" * 600)
    if cut % 512 == 0:
        cut += 1
    with pytest.raises(InvalidParameter, match="truncated"):
        store.add([data[:cut]])
    assert leftovers(store) == []


def test_a_sparse_terabyte_is_refused(store: LayerStore) -> None:
    records = b"".join(
        header._record(key, value)
        for key, value in (
            ("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"huge"), ("GNU.sparse.realsize", str(1 << 40).encode()),
        )
    )  # fmt: skip
    stored = b"0\n".ljust(512, b"\0")
    data = pack(entry("p", header.PAX, size=len(records))) + records + bytes(-len(records) % 512)
    with pytest.raises(InvalidParameter, match="larger than the limit"):
        add(store, data, pack(entry("GNUSparseFile/huge", size=512)), stored)
    assert leftovers(store) == []


def test_a_bomb_of_zeros_takes_no_disk(store: LayerStore, tmp_path: Path) -> None:
    size = 256 << 20
    head = pack(entry("bomb", size=size))

    def chunks() -> Iterator[bytes]:
        yield head
        for _ in range(size >> 18):
            yield bytes(1 << 18)
        yield END

    layer = store.add(chunks())
    found = os.stat(os.path.join(store.path(layer.diff_id), "bomb"))
    assert found.st_size == size
    assert found.st_blocks * 512 < 1 << 20


def test_limits_of_size_and_entries(store: LayerStore) -> None:
    with pytest.raises(InvalidParameter, match="larger than the limit"):
        add(store, file("a", b"x" * 600), file("b", b"x" * 600), limits=Limits(size=1000))
    with pytest.raises(InvalidParameter, match="more than 10 entries"):
        add(store, *(file(f"f{number}", b"") for number in range(11)), limits=Limits(entries=10))
    assert leftovers(store) == []


def test_an_endless_extension_is_refused(store: LayerStore) -> None:
    with pytest.raises(InvalidParameter, match="extended header"):
        add(store, pack(entry("long", header.GNU_LONG_NAME, size=1 << 30)))


def test_a_negative_size_is_refused(store: LayerStore) -> None:
    block = bytearray(pack(entry("x")))
    block[124:136] = (-512).to_bytes(12, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(InvalidParameter, match="negative size"):
        add(store, bytes(block))


@pytest.mark.parametrize("seed", range(200))
def test_damaged_archives_are_refused_or_harmless(
    store: LayerStore, sentinel: Path, seed: int
) -> None:
    data = bytearray(
        directory("d/")
        + file("d/x", b"content")
        + symlink("d/s", "x")
        + hard_link("h", "d/x")
        + END
    )
    noise = hashlib.sha512(str(seed).encode()).digest()
    for index in range(0, 12, 3):
        data[int.from_bytes(noise[index : index + 2], "big") % len(data)] = noise[index + 2]
    try:
        layer = store.add([bytes(data)])
    except WherryError:
        assert leftovers(store) == []
    else:
        assert b"".join(store.tar(layer.diff_id)) == bytes(data)
