"""Small Dockerfiles build as on dockerd 20.10: text, configuration, history, files, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.api.daemons import Apart
from tests.conformance.builder.cases import CASES
from tests.conformance.builder.deliberate import DIFFERENCES
from tests.conformance.builder.observe import Case, observe
from tests.conformance.builder.recorder import RECORDS
from tests.daemon import Daemon
from tests.images import busybox_archive

DOCKERD, OURS = (json.loads(RECORDS[name].read_text()) for name in ("dockerd", "wherry"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Apart() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        yield daemon


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case(engine: Daemon, case: Case) -> None:
    expected: dict[str, Any] = (OURS if case.name in DIFFERENCES else DOCKERD)[case.name]
    seen = observe(engine, case)
    if ".dockerignore" in case.files:  # recorded through the client, which has texts of its own
        seen.pop("text", None)
        expected.pop("text", None)
    assert seen == expected


def test_the_differences_are_such() -> None:
    assert OURS.keys() == DIFFERENCES.keys()
    assert [name for name in OURS if OURS[name] == DOCKERD[name]] == []
