"""Failures that get a text in front."""

from __future__ import annotations

import pytest

from wherry.errors import Conflict, KernelError, NotFound, WherryError, prefixed
from wherry.runtime.bundle import StartFailed


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (NotFound("network x not found"), NotFound, "do: network x not found"),
        (Conflict("taken"), Conflict, "do: taken"),
        (
            KernelError("bind", "/x", 2),
            WherryError,
            "do: bind /x: No such file or directory (ENOENT)",
        ),
        (StartFailed("no such program", "exec"), WherryError, "do: no such program"),
    ],
)
def test_a_prefix_keeps_the_kind(error: WherryError, kind: type[WherryError], text: str) -> None:
    found = prefixed("do", error)
    assert type(found) is kind
    assert str(found) == text
