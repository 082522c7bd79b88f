"""Hooks of a bundle, OCI runtime-spec "POSIX-platform Hooks"."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.linux import process
from wherry.runtime.bundle import StartFailed


def run(kind: str, hooks: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Run all hooks of one kind in order, with ``state`` as their input.

    Raises `StartFailed` at the first that fails.
    """
    entries: Sequence[Mapping[str, Any]] = hooks.get(kind) or ()
    for number, hook in enumerate(entries):
        _run_one(f"{kind} hook #{number}", hook, state)


def _run_one(name: str, hook: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    path = hook["path"]
    environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or ())
    try:
        done = subprocess.run(
            hook.get("args") or [path],
            executable=path,
            input=json.dumps(state).encode(),
            env=environment,
            capture_output=True,
            timeout=hook.get("timeout") or None,
            check=False,
            preexec_fn=process.reset_signals,
        )
    except subprocess.TimeoutExpired:
        raise StartFailed(f"error running {name}: {path}: timed out", "hook", path) from None
    except OSError as error:
        number = error.errno or 0
        message = f"error running {name}: {path}: {os.strerror(number).lower()}"
        raise StartFailed(message, "hook", path, number) from None
    if done.returncode:
        output = (done.stdout + done.stderr).decode(errors="replace").strip()
        message = f"error running {name}: {path}: exit status {done.returncode}, output: {output}"
        raise StartFailed(message, "hook", path)
