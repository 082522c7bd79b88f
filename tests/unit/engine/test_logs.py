import asyncio
import gzip
import json
import os
from pathlib import Path

import pytest

from wherry.engine.logfiles import LogRecord, decode
from wherry.engine.logs import LogOptions, frame, parse_tail, read, render
from wherry.errors import InvalidParameter
from wherry.timestamps import SECOND, rfc3339


def line(number: int, stream: str = "stdout") -> bytes:
    record = {"log": f"{number}\n", "stream": stream, "time": rfc3339(number * SECOND)}
    return json.dumps(record).encode() + b"\n"


def lines(*numbers: int) -> bytes:
    return b"".join(line(number) for number in numbers)


async def numbers(path: Path, ended: asyncio.Event | None = None, **options: object) -> list[int]:
    read_lines = read(
        str(path),
        LogOptions(**options),  # type: ignore[arg-type]
        ended or asyncio.Event(),
    )
    return [int(record.line) async for batch in read_lines for record in batch]


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    log = tmp_path / "c-json.log"
    (tmp_path / "c-json.log.2.gz").write_bytes(gzip.compress(lines(1, 2)))
    (tmp_path / "c-json.log.1").write_bytes(lines(3, 4))
    log.write_bytes(lines(5, 6))
    return log


async def test_rotated_and_compressed_files_come_first(rotated: Path) -> None:
    assert await numbers(rotated) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("tail", range(8))
async def test_tail_counts_over_all_files(rotated: Path, tail: int) -> None:
    assert await numbers(rotated, tail=tail) == [1, 2, 3, 4, 5, 6][max(0, 6 - tail) :]


async def test_tail_of_a_large_file(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    log.write_bytes(lines(*range(20_000)))
    assert await numbers(log, tail=9_000) == list(range(11_000, 20_000))


async def test_since_and_until(rotated: Path) -> None:
    assert await numbers(rotated, since=2 * SECOND, until=5 * SECOND) == [2, 3, 4, 5]


async def test_since_within_a_second(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    half = SECOND // 2
    times = [SECOND, SECOND + half, 2 * SECOND, 2 * SECOND + half, 3 * SECOND]
    log.write_text(
        "".join(
            json.dumps({"log": f"{number}\n", "stream": "stdout", "time": rfc3339(time)}) + "\n"
            for number, time in enumerate(times)
        ).replace(": ", ":")
    )
    assert await numbers(log, since=2 * SECOND + half) == [3, 4]
    assert await numbers(log, since=SECOND + half, until=2 * SECOND) == [1, 2]
    assert await numbers(log, since=4 * SECOND) == []


async def test_files_that_ended_before_since_are_not_read(rotated: Path) -> None:
    older = rotated.with_name("c-json.log.1")
    os.utime(older, ns=(4 * SECOND, 4 * SECOND))
    os.utime(rotated.with_name("c-json.log.2.gz"), ns=(2 * SECOND, 2 * SECOND))
    assert await numbers(rotated, since=4 * SECOND) == [4, 5, 6]
    older.write_bytes(lines(99))  # nobody looks into it
    os.utime(older, ns=(4 * SECOND, 4 * SECOND))
    assert await numbers(rotated, since=5 * SECOND) == [5, 6]


async def test_one_stream(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    log.write_bytes(line(1) + line(2, "stderr"))
    assert await numbers(log, stdout=False) == [2]
    with pytest.raises(InvalidParameter, match="you must choose at least one stream"):
        LogOptions(stdout=False, stderr=False)


async def test_a_missing_log_is_empty_and_a_torn_line_is_skipped(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    assert await numbers(log) == []
    log.write_bytes(line(1) + b'{"log":"2\n' + line(3) + line(4)[:20])
    assert await numbers(log) == [1, 3]


async def test_following_reads_on_until_the_container_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    log.write_bytes(lines(1))
    ended = asyncio.Event()
    seen: list[int] = []

    async def follow() -> None:
        async for batch in read(str(log), LogOptions(follow=True), ended):
            seen.extend(int(record.line) for record in batch)

    task = asyncio.create_task(follow())
    with log.open("ab") as file:
        for number in range(2, 30):
            file.write(line(number)[:10])
            file.flush()
            await asyncio.sleep(0.001)
            file.write(line(number)[10:])
            file.flush()
    ended.set()
    await task
    assert seen == list(range(1, 30))


async def test_following_loses_nothing_in_rotations(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    log.write_bytes(b"")
    ended = asyncio.Event()
    task = asyncio.create_task(numbers(log, ended, follow=True))
    await asyncio.sleep(0.01)
    for number in range(12):
        with log.open("ab") as file:
            file.write(line(number))
        if number % 2:
            for position in (3, 2, 1):
                older = log.with_name(f"{log.name}.{position}")
                if older.exists():
                    older.rename(log.with_name(f"{log.name}.{position + 1}"))
            log.rename(log.with_name(f"{log.name}.1"))
        if number % 5 == 0:
            await asyncio.sleep(0.01)
    log.touch()
    ended.set()
    assert await task == list(range(12))


def test_times_and_details_precede_the_line() -> None:
    record = LogRecord("stdout", SECOND, b"hi\n", {"b": "x y", "a": "1"})
    assert render(record, LogOptions(timestamps=True, details=True)) == (
        b"1970-01-01T00:00:01.000000000Z a=1,b=x+y hi\n"
    )
    assert render(record, LogOptions()) == b"hi\n"


def test_a_frame_carries_stream_and_length() -> None:
    assert frame("stderr", b"abc") == b"\x02\0\0\0\0\0\0\x03abc"


def test_tail_is_a_number_or_all() -> None:
    assert [parse_tail(text) for text in ("3", "0", "all", "", "-1", None)] == [
        3, 0, None, None, None, None,
    ]  # fmt: skip


def test_a_record_that_is_no_json_is_none() -> None:
    assert decode(b"[1]") is None
    assert decode(b'{"log":"x"}') is None


async def test_without_follow_the_end_is_where_it_was_at_the_opening(tmp_path: Path) -> None:
    """Whoever writes faster than is read, and rotates meanwhile, never keeps a reader."""
    log = tmp_path / "c-json.log"
    log.write_bytes(lines(*range(5_000)))
    for tail, expected in ((None, range(5_000)), (3, range(4_997, 5_000))):
        log.write_bytes(lines(*range(5_000)))
        seen: list[int] = []
        async for batch in read(str(log), LogOptions(tail=tail), asyncio.Event()):
            seen += [int(record.line) for record in batch]
            with log.open("ab") as file:
                file.write(lines(*range(10_000, 15_000)))
            log.rename(f"{log}.1")
            log.write_bytes(lines(20_000))
        assert seen == list(expected)


@pytest.mark.parametrize("packed", [False, True])
async def test_tail_reads_backwards_by_blocks(tmp_path: Path, packed: bool) -> None:
    """The last lines are found wherever the cuts between blocks and files fall."""
    log = tmp_path / "c-json.log"
    older = lines(*range(9_000))
    log.with_name("c-json.log.1" + packed * ".gz").write_bytes(
        gzip.compress(older) if packed else older
    )
    log.write_bytes(lines(*range(9_000, 9_003)) + line(9_003)[:-1])  # the last is being written
    for tail in (0, 1, 3, 4, 3_600, 9_002, 9_003, 9_004, 10**18):
        assert await numbers(log, tail=tail) == list(range(max(0, 9_003 - tail), 9_003))


async def test_tail_of_a_large_log_reads_its_end_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "c-json.log"
    with log.open("wb") as file:
        file.truncate(1 << 30)  # as good as a gigabyte of output
        file.seek(0, 2)
        file.write(b"\n" + lines(*range(100)))
    total = 0
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal total
        data = pread(descriptor, size, offset)
        total += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    assert await numbers(log, tail=10) == list(range(90, 100))
    assert await numbers(log, tail=10, since=95 * SECOND, until=97 * SECOND) == [95, 96, 97]
    assert total < 1 << 21


async def test_tail_and_follow_go_on_where_the_tail_ended(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    log.write_bytes(lines(1, 2, 3) + line(4)[:9])
    ended = asyncio.Event()
    stream = read(str(log), LogOptions(follow=True, tail=1), ended)
    assert [int(record.line) for record in await anext(stream)] == [3]
    with log.open("ab") as file:
        file.write(line(4)[9:] + line(5))
    ended.set()
    assert [int(record.line) async for batch in stream for record in batch] == [4, 5]


async def test_following_goes_on_when_the_only_file_is_emptied(tmp_path: Path) -> None:
    log = tmp_path / "c-json.log"
    log.write_bytes(lines(1, 2, 3))
    ended = asyncio.Event()
    stream = read(str(log), LogOptions(follow=True), ended)
    assert len(await anext(stream)) == 3
    log.write_bytes(lines(4))
    ended.set()
    assert [int(record.line) async for batch in stream for record in batch] == [4]


async def test_a_file_that_a_crash_left_half_compressed_is_read_as_far_as_it_goes(
    tmp_path: Path,
) -> None:
    log = tmp_path / "c-json.log"
    whole = gzip.compress(lines(*range(1_000)))
    (tmp_path / "c-json.log.1.gz").write_bytes(whole[: len(whole) // 2])
    log.write_bytes(lines(1_000))
    read_ = await numbers(log)
    assert read_ == [*range(len(read_) - 1), 1_000]
    assert await numbers(log, tail=2) == read_[-2:]
