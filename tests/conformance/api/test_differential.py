"""One list of client commands against Wherry and against Debian's dockerd; answers compared."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import pytest
from tests.conformance.api.daemons import Dockerd, installed
from tests.conformance.api.images import saved
from tests.conformance.api.scenarios import SCENARIOS
from tests.daemon import Daemon

pytestmark = pytest.mark.skipif(not installed(), reason="dockerd is not installed")

_REPLACED = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"sha256:[0-9a-f]{64}", "<digest>"),
        (r"\b[0-9a-f]{64}\b", "<id>"),
        (r"\b[0-9a-f]{12}\b", "<short>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
        (
            r"(Up |Exited \(\d+\) )?(Less than a second|About a minute|\d+ seconds?)( ago)?",
            r"\1<age>",
        ),
        (r"\b172\.\d+\.\d+\.\d+", "<address>"),
        (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
        (r"[0-9.]+ ?[kMG]i?B\b", "<size>"),
        (r"[ \t]+", " "),
        (r"\n\nRun 'docker [a-z ]*--help' for more information", ""),
    )
]


def normal(text: str) -> str:
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    # Docker has changed the case of some messages' first letters since.
    text = re.sub(r"(Error response from daemon: )(\w)", lambda m: m[1] + m[2].lower(), text)
    return text.rstrip()


@pytest.fixture(scope="module")
def reference() -> Iterator[Daemon]:
    with Dockerd() as daemon:
        daemon.docker("load", input=saved())
        yield daemon


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_both_answer_alike(scenario: object, engine: Daemon, reference: Daemon) -> None:
    ours = transcript(engine, scenario)
    theirs = transcript(reference, scenario)
    differences = difflib.unified_diff(theirs, ours, "dockerd", "wherry", lineterm="", n=1)
    assert ours == theirs, "\n" + "\n".join(differences)


def transcript(daemon: Daemon, scenario: object) -> list[str]:
    lines: list[str] = []
    for step in scenario.steps:  # type: ignore[attr-defined]
        done = daemon.docker(*step.arguments, input=step.input, check=False, timeout=40)
        lines.append(f"$ docker {' '.join(step.arguments)} -> {done.returncode}")
        output, errors = normal(done.stdout), normal(done.stderr)
        if step.unordered:
            output = "\n".join(sorted(output.splitlines()))
        lines += [line for line in output.splitlines() if not step.quiet]
        lines += [f"! {line}" for line in errors.splitlines() if not step.quiet]
    return lines
