"""A container that may write in its cgroup nests others in it: they go with it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from wherry.linux.cgroups import discover
from wherry.linux.cgroups.cgroup import _remove_tree

pytestmark = pytest.mark.root

DEPTH = 1100


def test_cgroups_nested_deeper_than_a_stack_are_removed() -> None:
    top = Path(discover().hierarchies()[-1], f"wherry-test-{secrets.token_hex(4)}")
    try:
        here = str(top)
        for _ in range(DEPTH):
            os.mkdir(here)
            here += "/d"
        _remove_tree(str(top))
        assert not top.exists()
    finally:
        if top.exists():
            for directory, _, _ in os.walk(top, topdown=False):
                os.rmdir(directory)
