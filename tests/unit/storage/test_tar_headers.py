"""Tar headers: what is packed is read back, what Python's tarfile writes is understood."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.storage.archive import header
from wherry.storage.archive.header import Entry, pack, parse
from wherry.storage.archive.reader import TarReader
from wherry.storage.archive.stream import ByteStream
from wherry.storage.archive.writer import END

_NAME = st.binary(min_size=1, max_size=300).filter(
    lambda name: b"\0" not in name and not name.endswith(b"/")
)


def read(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader(ByteStream([data]))
    return [(entry, b"".join(bytes(piece) for _, piece in reader.content())) for entry in reader]


@pytest.mark.parametrize("end", [700, 701, 1023, 1024])
def test_the_filling_of_the_last_block_may_be_missing(end: int) -> None:
    head = pack(Entry(b"name", header.REGULAR, 0o644, 0, 0, 700, 0))
    assert [content for _, content in read(head + bytes(end))] == [bytes(700)]
    with pytest.raises(InvalidParameter, match="truncated: it ends 1 bytes early"):
        read(head + bytes(699))


@settings(max_examples=200, deadline=None)
@given(
    _NAME,
    st.sampled_from([header.REGULAR, header.SYMLINK, header.HARD_LINK, header.FIFO, header.CHAR]),
    st.integers(0, 0o7777),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**40), 2**50),
    _NAME,
    st.lists(st.tuples(st.sampled_from(["user.a", "security.capability"]), st.binary(max_size=40)),
             max_size=2, unique_by=lambda item: item[0]),
)  # fmt: skip
def test_a_packed_entry_is_read_back(
    name: bytes, kind: bytes, mode: int, uid: int, mtime: int, link: bytes,
    xattrs: list[tuple[str, bytes]],
) -> None:  # fmt: skip
    entry = Entry(
        name, kind, mode, uid, uid // 2, 0, mtime,
        link=link if kind in (header.SYMLINK, header.HARD_LINK) else b"",
        major=3 if kind == header.CHAR else 0,
        xattrs=tuple(sorted(xattrs)),
    )  # fmt: skip
    [(found, _)] = read(pack(entry) + END)
    assert found == entry


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_understood(form: int) -> None:
    names = ["plain", "deep/" * 18 + "ustar-prefix"]
    if form != tarfile.USTAR_FORMAT:
        names += ["long-" * 60, "ü" * 120]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name.encode())
            info.uid = 1 << 22 if form != tarfile.USTAR_FORMAT else 7
            tar.addfile(info, io.BytesIO(name.encode()))
        link = tarfile.TarInfo("link")
        link.type = tarfile.SYMTYPE
        target = names[-1] if form != tarfile.USTAR_FORMAT else "plain"
        link.linkname = target
        tar.addfile(link)
    found = read(buffer.getvalue())
    assert [(entry.name, data) for entry, data in found[:-1]] == [
        (name.encode(), name.encode()) for name in names
    ]
    assert found[-1][0].link == target.encode()
    assert found[0][0].uid == (1 << 22 if form != tarfile.USTAR_FORMAT else 7)


@given(st.binary(min_size=512, max_size=512))
def test_any_block_is_parsed_or_refused(block: bytes) -> None:
    try:
        parse(block)
    except InvalidParameter:
        return


@given(st.binary(max_size=200))
def test_any_pax_data_is_parsed_or_refused(data: bytes) -> None:
    try:
        header.pax_records(data)
    except InvalidParameter:
        return


def test_base256_numbers() -> None:
    assert header.number(b"\x80" + (1 << 40).to_bytes(11, "big")) == 1 << 40
    assert header.number((-5).to_bytes(12, "big", signed=True)) == -5
    assert header.number(b"0000644\0") == 0o644
    with pytest.raises(InvalidParameter):
        header.number(b"99999999")


def test_times_with_fractions() -> None:
    assert header.pax_time(b"1.5", b"") == 1_500_000_000
    assert header.pax_time(b"-1.5", b"") == -1_500_000_000
    with pytest.raises(InvalidParameter):
        header.pax_time(b"now", b"")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("length", [*range(95, 105), 155, 200, 256, 300])
def test_a_long_name_that_is_cut_at_a_slash_is_still_a_file(form: int, length: int) -> None:
    """What the header itself holds of it then looks like a directory."""
    name = ("d/" * length)[:length].rstrip("/")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"text"))
        archive.addfile(tarfile.TarInfo("next"))
    found = [(entry.name.decode(), entry.kind, content) for entry, content in read(out.getvalue())]
    assert found == [(name, header.REGULAR, b"text"), ("next", header.REGULAR, b"")]
