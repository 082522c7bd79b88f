"""``python -m bench`` prints the table as markdown; ``make bench`` sets up all it needs."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from .cases import CASES, SETTLE_SECONDS, debian_root, run_case
from .engines import EngineUnderTest, dockerd, wherry

PROJECT = Path(__file__).parents[1]


def base_images(folder: Path) -> None:
    """Make the two images that the cases use, unless the cache has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("busybox", "debian"):
        target = folder / f"{name}.tar"
        if not target.exists():
            script = str(PROJECT / "contrib" / f"make-{name}-image")
            subprocess.run([sys.executable, script, "-o", str(target)], check=True)
    if not (folder / "debian-root.tar").exists():
        debian_root(folder / "debian.tar", folder / "debian-root.tar")


def table(engines: list[EngineUnderTest], images: Path, wanted: str) -> list[str]:
    """The rows of the report."""
    names = " | ".join(f"{engine.name} {engine.version}" for engine in engines)
    ratio = " | ratio" if len(engines) == 2 else ""
    rule = "|---" * (1 + len(engines) + (len(engines) == 2)) + "|"
    lines = [f"| work | {names}{ratio} |", rule]

    def row(name: str, unit: str, figures: list[float]) -> None:
        cells = " | ".join(f"{figure:.3g} {unit}" for figure in figures)
        last = ""
        if len(figures) == 2:  # what the kernel has counted as nothing has no ratio
            last = f" | {figures[1] / figures[0]:.2f}" if figures[0] else " | "
        lines.append(f"| {name} | {cells}{last} |")
        print(lines[-1], file=sys.stderr, flush=True)

    row("daemon at rest, RSS in all", "MB", [engine.rss() for engine in engines])
    for engine in engines:
        engine.docker("load", "-i", str(images / "busybox.tar"))
    for case in CASES:
        if wanted in case.name:
            row(case.name, case.unit, run_case(case, engines, images))
    return lines


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--only", default="", help="cases whose name has this text")
    parser.add_argument("--images", type=Path, help="folder of busybox.tar and debian.tar")
    options = parser.parse_args()
    cache = Path(os.environ.get("WHERRY_CACHE", PROJECT / ".cache"))
    images = options.images or cache / "images"
    base_images(images)
    with tempfile.TemporaryDirectory(prefix="wherry-bench-") as folder, ExitStack() as stack:
        engines = []
        if shutil.which("dockerd"):
            engines.append(stack.enter_context(dockerd(Path(folder) / "dockerd")))
        engines.append(stack.enter_context(wherry(Path(folder) / "wherry")))
        time.sleep(SETTLE_SECONDS)
        lines = table(engines, images, options.only)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    print(f"Measured on {date.today()}, {os.cpu_count()} cores, {memory:.0f} GiB; medians.\n")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
