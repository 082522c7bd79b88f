"""Streams: exact reads over any cutting into chunks, threads that end, damaged compression."""

import bz2
import gzip
import io
import lzma
import threading
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidParameter
from wherry.storage.archive.channel import Budget, Channel
from wherry.storage.archive.compression import compression_of, decompressed
from wherry.storage.archive.stream import ByteStream, ReadAhead


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 15)))
def test_reads_do_not_depend_on_chunks(chunks: list[bytes], counts: list[int]) -> None:
    whole = b"".join(chunks)
    stream = ByteStream(chunks)
    for count in counts:
        start = stream.position
        if start + count > len(whole):
            with pytest.raises(InvalidParameter, match="truncated"):
                stream.take(count)
            return
        assert stream.take(count) == whole[start : start + count]
    start = stream.position
    assert stream.read() == whole[start:]
    assert stream.at_end()


def test_read_ahead_passes_errors_on() -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise InvalidParameter("second is bad")

    with ReadAhead(broken()) as ahead, pytest.raises(InvalidParameter, match="second is bad"):
        assert list(ahead) == []


def test_leaving_early_ends_the_thread() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x"

    with ReadAhead(endless()) as ahead:
        assert next(iter(ahead)) == b"x"
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


COMPRESS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "": bytes,
}


@pytest.mark.parametrize("kind", COMPRESS)
def test_compression_is_known_by_its_first_bytes(kind: str) -> None:
    data = COMPRESS[kind](b"content" * 1000)
    assert compression_of(data[:6]) == kind
    twice = data + data  # members one after the other are one stream
    assert b"".join(decompressed(io.BytesIO(twice))) == b"content" * 2000


@pytest.mark.parametrize("kind", [kind for kind in COMPRESS if kind not in ("", "zstd")])
def test_damaged_compression_is_refused(kind: str) -> None:
    data = bytearray(COMPRESS[kind](bytes(range(256)) * 500))
    with pytest.raises(InvalidParameter, match="damaged"):
        b"".join(decompressed(io.BytesIO(bytes(data[:-9]))))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(InvalidParameter, match="damaged"):
        b"".join(decompressed(io.BytesIO(bytes(data))))


def test_a_channel_bounds_what_waits_and_keeps_the_order() -> None:
    budget = Budget(100)
    channels = [Channel(budget) for _ in range(3)]
    most: list[int] = []

    def fill() -> None:
        for channel in channels:
            for number in range(50):
                assert channel.write(bytes([number] * 30))
                most.append(budget.waiting)
            channel.finish()

    writer = threading.Thread(target=fill)
    writer.start()
    expected = b"".join(bytes([number] * 30) for number in range(50))
    for channel in channels:
        assert b"".join(iter(lambda c=channel: c.read(7), b"")) == expected  # type: ignore[misc]
    writer.join()
    assert max(most) < 100 + 30
    assert budget.waiting == 0


def test_a_channel_tells_both_sides_when_the_other_has_gone() -> None:
    budget = Budget(10)
    failed, left = Channel(budget), Channel(budget)
    failed.write(b"some")
    failed.finish(InvalidParameter("cut"))
    assert failed.read() == b"some"
    with pytest.raises(InvalidParameter, match="cut"):
        failed.read()
    left.write(b"x" * 10)
    left.abandon()
    assert not left.write(b"more")
    assert budget.waiting == 0
