from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.conformance.api.daemons import Apart, Dockerd
from tests.conformance.api.images import saved
from tests.daemon import Daemon


@pytest.fixture(scope="session")
def engine() -> Iterator[Daemon]:
    """The engine under test, with the image ``busybox``.

    WHERRY_TEST_DOCKERD=1 runs the same cases against Debian's dockerd, to check the cases.
    """
    made = Dockerd() if os.environ.get("WHERRY_TEST_DOCKERD") else Apart()
    with made as daemon:
        daemon.docker("load", input=saved())
        yield daemon
