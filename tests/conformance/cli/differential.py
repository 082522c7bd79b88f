"""Run one command line through Docker's own client and through ours, against a recorder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .recorder import Recorded, Recorder

DOCKER = shutil.which("docker")
WHERRY = [sys.executable, "-m", "wherry"]


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str
    requests: list[Recorded]


def run(program: list[str], recorder: Recorder, words: list[str], home: Path) -> Outcome:
    """One client's run with a clean environment and an empty configuration."""
    before = len(recorder.requests)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / "config"),
        "DOCKER_HOST": f"unix://{recorder.socket_path}",
        "FROM_HERE": "a value of the environment",
    }
    done = subprocess.run(
        [*program, *words],
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    own = [r for r in recorder.requests[before:] if r.path != "/_ping"]
    return Outcome(done.returncode, done.stdout, done.stderr, own)


def as_wherry(text: str) -> str:
    """Docker's words with our program's name in them."""
    return text.replace("docker", "wherry")
