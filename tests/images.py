"""Base images for the tests, made from Debian's packages once and kept in the cache."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("WHERRY_CACHE", PROJECT / ".cache"))


def busybox_archive() -> Path:
    """An archive of ``busybox:latest`` that ``docker load`` takes."""
    return _archive("busybox")


def debian_archive() -> Path:
    """An archive of ``debian:latest`` (bookworm, minbase) that ``docker load`` takes."""
    return _archive("debian")


def _archive(name: str) -> Path:
    folder = Path(os.environ.get("WHERRY_TEST_IMAGES", CACHE / "images"))
    target = folder / f"{name}.tar"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another tier may be making it
        if not target.exists():
            fresh = folder / f".{name}-{os.getpid()}.tar"
            script = PROJECT / "contrib" / f"make-{name}-image"
            subprocess.run([sys.executable, str(script), "-o", str(fresh)], check=True)
            fresh.rename(target)
    return target
