"""The plot of pulls over time, as numbers for an inline SVG."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One day: position and size in the plot's units, and the count it stands for."""

    x: float
    y: float
    height: float
    count: int
    days_ago: int


@dataclass(frozen=True)
class Plot:
    """Bars in a box of ``width`` by ``height``."""

    width: int
    height: int
    bar_width: float
    bars: list[Bar]
    total: int
    peak: int


def pulls(counts: list[int], width: int = 300, height: int = 64) -> Plot:
    """Bars for ``counts`` (oldest first); a day without pulls is a thin line."""
    step = width / max(len(counts), 1)
    peak = max(counts, default=0)
    bars = []
    for index, count in enumerate(counts):
        size = max(count / peak * height, 2.0) if peak and count else 1.0
        bars.append(
            Bar(
                x=round(index * step, 2),
                y=round(height - size, 2),
                height=round(size, 2),
                count=count,
                days_ago=len(counts) - 1 - index,
            )
        )
    return Plot(width, height, round(step * 0.72, 2), bars, sum(counts), peak)
