"""Hashes of uploads that processes share."""

from __future__ import annotations

from wherry.hub.digests import Digests

ONE, TWO = "01234567" + "a" * 24, "01234567" + "b" * 24  # both have the same slot
DIGEST = "c" * 64


def test_only_the_same_upload_of_the_same_size_has_the_digest() -> None:
    digests = Digests()
    assert digests.find(ONE, 0) is None
    digests.note(ONE, 7, DIGEST)
    assert digests.find(ONE, 7) == DIGEST
    assert digests.find(ONE, 8) is None
    assert digests.find(TWO, 7) is None
    digests.note(TWO, 7, "d" * 64)
    assert digests.find(ONE, 7) is None
    assert digests.find(TWO, 7) == "d" * 64


def test_a_slot_that_is_half_written_is_not_believed() -> None:
    digests = Digests()
    digests.note(ONE, 7, DIGEST)
    offset = digests._memory.find(bytes.fromhex(DIGEST))
    digests._memory[offset] ^= 1
    assert digests.find(ONE, 7) is None
