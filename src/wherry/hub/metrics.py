"""Counters for Prometheus, in its text format (version 0.0.4), of all processes of one hub.

The processes that share a port share an anonymous piece of memory, in which each has a part that
only it writes. Whoever is asked adds up all parts: the answer does not depend on who is asked, and
a process that replaces a dead one goes on with the counters that it finds.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections import Counter, defaultdict
from typing import Any

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

_KEY_BYTES = 120
_RECORD = struct.Struct(f"=d{_KEY_BYTES}s")  # 128 bytes: a value never crosses a cache line
_VALUE = struct.Struct("=d")
_RECORDS = 1024
_PART = _RECORD.size * _RECORDS

Key = tuple[str, ...]


class Board:
    """The memory that the processes of one hub share; made before they are forked."""

    def __init__(self, parts: int = 1) -> None:
        self.parts = parts
        self.started = time.time()
        self._memory = mmap.mmap(-1, parts * _PART)

    def records(self, part: int) -> list[tuple[int, Key, float]]:
        """Offset, key and value of each counter of one part."""
        found = []
        for offset in range(part * _PART, (part + 1) * _PART, _RECORD.size):
            value, name = _RECORD.unpack_from(self._memory, offset)
            if name[:1] == b"\0":
                break
            found.append((offset, tuple(name.rstrip(b"\0").decode().split("\t")), value))
        return found

    def make(self, part: int, position: int, key: Key) -> int | None:
        """Adds a counter; its offset, or None when the part is full or the key too long."""
        name = "\t".join(key).encode()
        if position >= _RECORDS or len(name) > _KEY_BYTES:
            return None
        offset = part * _PART + position * _RECORD.size
        # The first letter comes last: until then readers take the record for the end.
        _RECORD.pack_into(self._memory, offset, 0.0, b"\0" + name[1:])
        self._memory[offset + _VALUE.size] = name[0]
        return offset

    def set(self, offset: int, value: float) -> None:
        """Sets a counter: one aligned copy of eight bytes, which readers see whole."""
        _VALUE.pack_into(self._memory, offset, value)

    def totals(self) -> Counter[Key]:
        """The counters of all parts, added up."""
        sums: Counter[Key] = Counter()
        for part in range(self.parts):
            for _, key, value in self.records(part):
                sums[key] += value  # type: ignore[assignment]
        return sums


class Metrics:
    """Counts what one process does."""

    def __init__(self, board: Board | None = None, part: int = 0) -> None:
        self._board = board or Board()
        self._part = part
        self._values: dict[Key, float] = {}
        self._offsets: dict[Key, int] = {}
        for offset, key, value in self._board.records(part):
            self._values[key], self._offsets[key] = value, offset

    def request(self, method: str, area: str, status: int, seconds: float) -> None:
        """Counts one finished request."""
        # Any word can be a method: only known ones become labels.
        known = method if method in _METHODS else "other"
        self._add(("requests", known, area, str(status)), 1)
        self._add(("seconds", area), seconds)
        bucket = next((limit for limit in _BUCKETS if seconds <= limit), None)
        self._add(("bucket", area, str(bucket) if bucket else "+Inf"), 1)

    def event(self, name: str, amount: int = 1) -> None:
        """Adds to a counter such as ``blob_bytes_received``."""
        self._add(("event", name), amount)

    def _add(self, key: Key, amount: float) -> None:
        offset = self._offsets.get(key)
        if offset is None:
            made = self._board.make(self._part, len(self._offsets), key)
            if made is None:
                return
            offset = self._offsets[key] = made
        value = self._values[key] = self._values.get(key, 0.0) + amount
        self._board.set(offset, value)

    def render(self, gauges: dict[str, float]) -> str:
        """The exposition: counters of all processes, and ``gauges`` by name and labels."""
        totals = self._board.totals()
        lines = _requests(totals) + _seconds(totals) + _events(totals) + _gauges(gauges)
        lines.append("# TYPE wherry_hub_start_time_seconds gauge")
        lines.append(f"wherry_hub_start_time_seconds {self._board.started:.3f}")
        return "\n".join(lines) + "\n"


def _requests(totals: Counter[Key]) -> list[str]:
    lines = ["# TYPE wherry_hub_requests_total counter"]
    for key, count in sorted(totals.items()):
        if key[0] == "requests":
            labels = _labels(method=key[1], area=key[2], status=key[3])
            lines.append(f"wherry_hub_requests_total{labels} {count:.0f}")
    return lines


def _seconds(totals: Counter[Key]) -> list[str]:
    lines = ["# TYPE wherry_hub_request_seconds histogram"]
    for area in sorted(key[1] for key in totals if key[0] == "seconds"):
        count = 0.0
        for limit in (*map(str, _BUCKETS), "+Inf"):
            count += totals["bucket", area, limit]
            labels = _labels(area=area, le=limit)
            lines.append(f"wherry_hub_request_seconds_bucket{labels} {count:.0f}")
        seconds = totals["seconds", area]
        lines.append(f"wherry_hub_request_seconds_sum{_labels(area=area)} {seconds:.6f}")
        lines.append(f"wherry_hub_request_seconds_count{_labels(area=area)} {count:.0f}")
    return lines


def _events(totals: Counter[Key]) -> list[str]:
    lines = []
    for key, count in sorted(totals.items()):
        if key[0] == "event":
            lines.append(f"# TYPE wherry_hub_{key[1]}_total counter")
            lines.append(f"wherry_hub_{key[1]}_total {count:.0f}")
    return lines


def _gauges(gauges: dict[str, float]) -> list[str]:
    families: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in sorted(gauges.items()):
        families[name.partition("{")[0]].append(f"wherry_hub_{name} {value:.16g}")
    lines = []
    for family, samples in families.items():
        lines.append(f"# TYPE wherry_hub_{family} gauge")
        lines += samples
    return lines


def labelled(name: str, **labels: Any) -> str:
    """The name of one gauge of several: ``labelled("job_runs", job="webhooks")``."""
    return f"{name}{_labels(**labels)}"


def _labels(**labels: Any) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
