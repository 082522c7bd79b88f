"""Counters for Prometheus, in its text format (version 0.0.4)."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What one process has done since it started."""

    def __init__(self) -> None:
        self._started = time.time()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: Counter[tuple[str, float]] = Counter()
        self._total_seconds: Counter[str] = Counter()
        self._events: Counter[str] = Counter()

    def request(self, method: str, area: str, status: int, seconds: float) -> None:
        """Counts one finished request."""
        self._requests[method, area, status] += 1
        self._total_seconds[area] += seconds  # type: ignore[assignment]
        for bucket in _BUCKETS:
            if seconds <= bucket:
                self._seconds[area, bucket] += 1

    def event(self, name: str, amount: int = 1) -> None:
        """Adds to a counter such as ``blob_bytes_received``."""
        self._events[name] += amount

    def render(self, gauges: dict[str, float]) -> str:
        """The exposition: counters of this process and ``gauges`` of the whole hub."""
        lines = ["# TYPE wherry_hub_requests_total counter"]
        for (method, area, status), count in sorted(self._requests.items()):
            labels = _labels(method=method, area=area, status=status)
            lines.append(f"wherry_hub_requests_total{labels} {count}")
        lines.append("# TYPE wherry_hub_request_seconds histogram")
        for area in sorted(self._total_seconds):
            total = sum(n for (_, a, _), n in self._requests.items() if a == area)
            for bucket in _BUCKETS:
                labels = _labels(area=area, le=bucket)
                count = self._seconds[area, bucket]
                lines.append(f"wherry_hub_request_seconds_bucket{labels} {count}")
            infinite = _labels(area=area, le="+Inf")
            lines.append(f"wherry_hub_request_seconds_bucket{infinite} {total}")
            seconds = self._total_seconds[area]
            lines.append(f"wherry_hub_request_seconds_sum{_labels(area=area)} {seconds:.6f}")
            lines.append(f"wherry_hub_request_seconds_count{_labels(area=area)} {total}")
        for name, count in sorted(self._events.items()):
            lines.append(f"# TYPE wherry_hub_{name}_total counter")
            lines.append(f"wherry_hub_{name}_total {count}")
        for name, value in sorted(gauges.items()):
            lines.append(f"# TYPE wherry_hub_{name} gauge")
            lines.append(f"wherry_hub_{name} {value:g}")
        lines.append("# TYPE wherry_hub_start_time_seconds gauge")
        lines.append(f"wherry_hub_start_time_seconds {self._started:.3f}")
        return "\n".join(lines) + "\n"


def _labels(**labels: Any) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
