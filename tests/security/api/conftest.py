from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conformance.api.daemons import Apart
from tests.conformance.api.images import saved
from tests.daemon import Daemon


@pytest.fixture(scope="session")
def engine() -> Iterator[Daemon]:
    """The engine under attack, in a network namespace of its own, with the image ``busybox``.

    It listens on loopback without TLS, too, as developers' machines do.
    """
    with Apart("-H", "tcp://127.0.0.1:2375") as daemon:
        daemon.docker("load", input=saved())
        yield daemon
