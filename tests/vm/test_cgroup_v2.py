"""The tests that must also hold on cgroup v2 with systemd, run inside a virtual machine.

One boot runs them all (software emulation, so some ten times slower than here); each guest test
file is one case here, and its failures are shown as the guest printed them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import image, machine

PROJECT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("WHERRY_CACHE", PROJECT / ".cache"))
GUEST_TESTS = (
    "tests/vm/guest/test_host.py",
    "tests/vm/guest/test_engine.py",
    "tests/vm/guest/test_networks.py",
    "tests/vm/guest/test_storage.py",
    "tests/vm/guest/test_volumes.py",
    "tests/integration/runtime/test_limits.py",
    "tests/integration/runtime/test_survival.py",
)
BOOT_AND_RUN_SECONDS = 900

pytestmark = [pytest.mark.root, pytest.mark.timeout(BOOT_AND_RUN_SECONDS + 600)]


@dataclass(frozen=True)
class GuestRun:
    """How often each guest test file passed, and what failed in it."""

    passed: dict[str, int]
    failures: dict[str, list[str]]
    log: str


def _read_junit(path: Path, log: str) -> GuestRun:
    passed: dict[str, int] = {}
    failures: dict[str, list[str]] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        file = next(f for f in GUEST_TESTS if case.get("classname", "").startswith(_module(f)))
        problems = [*case.findall("failure"), *case.findall("error"), *case.findall("skipped")]
        if problems:
            text = f"{case.get('name')}: {problems[0].get('message')}\n{problems[0].text}"
            failures.setdefault(file, []).append(text)
        else:
            passed[file] = passed.get(file, 0) + 1
    return GuestRun(passed, failures, log)


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


@pytest.fixture(scope="module")
def guest_run() -> Iterator[GuestRun]:
    if shutil.which("qemu-system-x86_64") is None or shutil.which("mmdebstrap") is None:
        pytest.fail("the vm tier needs qemu-system-x86 and mmdebstrap: make system-packages")
    made = image.build(PROJECT, CACHE)
    with tempfile.TemporaryDirectory(prefix="wherry-vm-run-") as folder:
        scratch = Path(folder)
        (scratch / "selection").write_text(" ".join(GUEST_TESTS))
        payload = scratch / "payload.tar"
        machine.make_payload(PROJECT, payload, scratch, {"selection": scratch / "selection"})
        outcome = machine.run(made, payload, scratch, BOOT_AND_RUN_SECONDS)
        log = outcome.results / "pytest.log"
        if not (outcome.results / "junit.xml").exists():
            pytest.fail(f"the guest brought no results; its console:\n{outcome.console[-5000:]}")
        yield _read_junit(outcome.results / "junit.xml", log.read_text())


@pytest.mark.parametrize("file", GUEST_TESTS)
def test_in_guest(guest_run: GuestRun, file: str) -> None:
    assert not guest_run.failures.get(file), "\n".join(guest_run.failures[file])
    assert guest_run.passed.get(file, 0) > 0, f"no test of {file} ran:\n{guest_run.log[-3000:]}"
