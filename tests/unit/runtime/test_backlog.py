"""What a client has not taken yet keeps its order, in memory and beyond."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wherry.runtime import backlog as module
from wherry.runtime.backlog import Backlog


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bounds that a test can reach."""
    monkeypatch.setattr(module, "MEMORY", 10)
    monkeypatch.setattr(module, "FILE", 100)
    monkeypatch.setattr(module, "_PIECE", 7)
    yield


def drain(backlog: Backlog, step: int = 3) -> bytes:
    data = b""
    while piece := backlog.first():
        data += piece[:step]
        backlog.taken(min(step, len(piece)))
    return data


def test_order_is_kept_across_memory_and_file(tmp_path: Path) -> None:
    backlog = Backlog(str(tmp_path))
    pieces = [bytes([65 + number]) * 6 for number in range(10)]
    for piece in pieces:
        backlog.append(piece)
    assert len(backlog) == 60
    assert drain(backlog) == b"".join(pieces)
    assert not backlog
    backlog.append(b"again")
    assert drain(backlog) == b"again"
    backlog.close()
    assert os.listdir(tmp_path) == []


def test_it_is_full_at_its_bound_and_has_room_again(tmp_path: Path) -> None:
    backlog = Backlog(str(tmp_path))
    while not backlog.full:
        backlog.append(b"x" * 20)
    assert len(backlog) >= 100
    drain(backlog)
    assert not backlog.full
    backlog.close()


@pytest.mark.parametrize("directory", ["", "/no/such/folder"])
def test_without_a_file_memory_is_the_bound(directory: str) -> None:
    backlog = Backlog(directory)
    for _ in range(3):
        backlog.append(b"12345")
    assert backlog.full
    assert drain(backlog) == b"12345" * 3
    assert not backlog.full
