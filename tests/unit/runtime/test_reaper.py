"""The init of --init: what is shipped is small, static and has no writable code."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from wherry.runtime import reaper

FOLDER = Path(reaper.__file__).parent


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_shipped_programs(machine: str, number: int) -> None:
    program = (FOLDER / f"reaper.{machine}").read_bytes()
    assert program[:5] == b"\x7fELF\x02" and len(program) < 4096
    kind, made_for = struct.unpack_from("<HH", program, 16)
    assert (kind, made_for) == (2, number)  # ET_EXEC: no loader is asked for
    offset, size, count = (
        struct.unpack_from("<Q", program, 32)[0],
        *struct.unpack_from("<HH", program, 54),
    )
    for index in range(count):
        segment, flags = struct.unpack_from("<II", program, offset + index * size)
        assert segment != 3  # PT_INTERP
        assert flags & 3 != 3  # writable and executable
