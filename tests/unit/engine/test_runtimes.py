"""Names of runtimes."""

from __future__ import annotations

import pytest

from wherry.engine.containers.runtimes import program
from wherry.errors import InvalidParameter


@pytest.mark.parametrize("name", ["", "wherry", "io.containerd.runc.v2"])
def test_wherrys_own(name: str) -> None:
    assert program(name, {}) == ""


def test_configured_ones_have_their_path() -> None:
    assert program("mine", {"mine": {"path": "/opt/mine"}}) == "/opt/mine"


def test_unknown_ones_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="unknown or invalid runtime name: nosuch"):
        program("nosuch", {})
