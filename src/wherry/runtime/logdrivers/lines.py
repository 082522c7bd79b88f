"""Cutting output into records, as Docker does."""

from __future__ import annotations

from wherry.runtime.logdrivers.record import LogRecord

_LONGEST = 16 * 1024
"""A record holds at most 16 KiB; a longer line is kept in parts."""


class LineCutter:
    """Cuts one stream's bytes into records as they come."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._rest = b""
        self._part_at = 0

    def feed(self, data: bytes, now: int) -> list[LogRecord]:
        """The records that ``data`` completes."""
        records = []
        *lines, rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        for line in lines:
            while len(line) >= _LONGEST:
                records.append(self._part(line[:_LONGEST], now))
                line = line[_LONGEST:]
            records.append(LogRecord(self._stream, line, self._part_at or now))
            self._part_at = 0
        while len(rest) >= _LONGEST:
            records.append(self._part(rest[:_LONGEST], now))
            rest = rest[_LONGEST:]
        self._rest = rest
        return records

    def finish(self, now: int) -> list[LogRecord]:
        """What is left when the stream has ended without a newline."""
        rest, self._rest = self._rest, b""
        return [self._part(rest, now)] if rest else []

    def _part(self, line: bytes, now: int) -> LogRecord:
        self._part_at = self._part_at or now
        return LogRecord(self._stream, line, self._part_at, partial=True)
