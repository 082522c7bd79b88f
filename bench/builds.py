"""Builds with the official client's classic mode: nothing cached, and all cached."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from .engines import EngineUnderTest

FILES = 10_000
PARTS = 8

_SEVEN = """FROM busybox
ENV app=/app
WORKDIR $app
COPY a.txt .
RUN sort a.txt > sorted && mkdir out
RUN cp sorted out/
CMD ["cat", "out/sorted"]
"""
_THIRTY = "FROM busybox\n" + "".join(
    f"RUN echo {number} > /file{number}\n" if number % 2 else f"ENV step{number}={number}\n"
    for number in range(29)
)
_WIDE = (
    "".join(
        f"FROM busybox AS part{number}\nRUN echo {number} > /made && sleep 0.2\n"
        for number in range(PARTS)
    )
    + "FROM busybox\n"
    + "".join(f"COPY --from=part{number} /made /made{number}\n" for number in range(PARTS))
)
_MANY = "FROM busybox\nCOPY . /context\nRUN find /context -type f | wc -l\n"
DOCKERFILES = {"seven": _SEVEN, "thirty": _THIRTY, "wide": _WIDE, "many": _MANY}

Measure = Callable[[EngineUnderTest, Path], float]


def context(name: str, images: Path) -> Path:
    """The folder of a build, made when it is not there."""
    folder = images / f"build-{name}"
    if not (folder / "Dockerfile").exists():
        folder.mkdir(exist_ok=True)
        (folder / "a.txt").write_text("".join(f"{9999 - number}\n" for number in range(5000)))
        for number in range(FILES if name == "many" else 0):
            directory = folder / f"d{number % 100}"
            directory.mkdir(exist_ok=True)
            (directory / f"f{number}").write_text(f"file {number}\n" * 40)
        (folder / "Dockerfile").write_text(DOCKERFILES[name])
    return folder


def cold(name: str) -> Measure:
    """A build of which nothing is cached, in s."""

    def measure(engine: EngineUnderTest, images: Path) -> float:
        return _build(engine, context(name, images), "--no-cache")

    return measure


def cached(name: str) -> Measure:
    """The same build again, in s."""

    def measure(engine: EngineUnderTest, images: Path) -> float:
        return _build(engine, context(name, images))

    return measure


def _build(engine: EngineUnderTest, folder: Path, *flags: str) -> float:
    started = time.perf_counter()
    engine.docker("build", "-q", *flags, "-t", f"bench-{folder.name}", str(folder))
    return time.perf_counter() - started
